"""The starter's network, which describes each joint by itself before it puts the body together.

It uses attention by part, as PARE does (Kocabas et al. 2021): a map for each joint gives its place in the crop, and the
features under the map describe the joint. The place of each map (by soft argmax, as in integral pose regression, Sun et
al. 2018), the depth of each joint and its description then give pose, shape and camera.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from factory.geometry.rotations import sixd_to_matrix
from factory.models.hmr.resnet import ResNet

JOINTS, SHAPES = 24, 10


class JointEvidence(NamedTuple):
    """What the network reads from the image about each joint, before it puts the body together."""

    maps: Tensor  # (N, 24, S, S) logits
    position: Tensor  # (N, 24, 2) x, y: the place of each map, -1 ... 1 across the crop
    depth: Tensor  # (N, 24) m behind the pelvis
    features: Tensor  # (N, F): places, depths and descriptions of all joints, and a description of the whole image


class PartHMR(ResNet):
    """layers: blocks of each stage of the residual network; width: channels of its first stage; parts: channels that
    describe each joint; hidden: width of the regressor; crop: side of the input in px."""

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def __init__(self, layers: list[int], width: int, hidden: int, crop: int, parts: int) -> None:
        super().__init__(layers, width)
        self.config: dict[str, Any] = {
            "layers": list(layers), "width": width, "hidden": hidden, "crop": crop, "parts": parts,
        }  # fmt: skip
        merged = 4 * parts
        self.lateral = nn.ModuleList(nn.Conv2d(channels, merged, 1) for channels in self.channels[1:])
        self.merge = nn.Sequential(
            nn.BatchNorm2d(merged), nn.ReLU(), nn.Conv2d(merged, merged, 3, padding=1, bias=False),
            nn.BatchNorm2d(merged), nn.ReLU(),
        )  # fmt: skip
        self.attention = nn.Conv2d(merged, JOINTS, 1)
        self.describe = nn.Parameter(torch.randn(JOINTS, merged, parts) / merged**0.5)  # each joint in its own way
        self.depth = nn.Parameter(torch.zeros(JOINTS, parts))
        self.first = nn.Linear(self.channels[-1] + JOINTS * (3 + parts), hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, hidden)) for _ in range(2)
        )
        self.last = nn.Sequential(nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, 6 * JOINTS + SHAPES + 3))
        for parameter in self.last[-1].parameters():
            nn.init.zeros_(parameter)  # start at the mean body
        self.register_buffer("init_pose", torch.tensor([[1.0, 0, 0, 1, 0, 0]]).repeat(1, JOINTS))
        self.register_buffer("init_shape", torch.zeros(1, SHAPES))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0, 0]]))

    def look(self, x: Tensor) -> JointEvidence:
        """x (N, 3, crop, crop), ImageNet-normalised RGB -> what it shows of each joint."""
        _, *stages = self.stages(x)
        size = stages[0].shape[2:]
        layers = [lateral(stage) for lateral, stage in zip(self.lateral, stages, strict=True)]
        merged = self.merge(sum(F.interpolate(layer, size, mode="bilinear") for layer in layers))
        maps = self.attention(merged).float()
        share = maps.flatten(2).softmax(-1)  # (N, 24, S S)
        row, column = ((2 * torch.arange(side, device=x.device) + 1) / side - 1 for side in size)
        grid = torch.stack([column.expand(*size), row[:, None].expand(*size)], -1).flatten(0, 1)
        place = (share[..., None] * grid).sum(2)  # not a product of matrices, which autocast would round
        under = torch.einsum("njs,ncs->njc", share, merged.float().flatten(2))
        described = torch.einsum("njc,jcp->njp", under, self.describe)
        depth = (described * self.depth).sum(-1)
        whole = stages[-1].float().mean((2, 3))
        features = torch.cat([whole, place.flatten(1), depth, described.relu().flatten(1)], 1)
        return JointEvidence(maps, place, depth, features)

    def body(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """features (N, F) of `look` -> rotations (N, 24, 3, 3), betas (N, 10), camera (N, 3)."""
        state = self.first(features)
        for block in self.blocks:
            state = state + block(state)
        mean = torch.cat([self.init_pose, self.init_shape, self.init_cam], 1)
        pose, shape, camera = (mean + self.last(state)).split([6 * JOINTS, SHAPES, 3], 1)
        return sixd_to_matrix(pose.view(-1, JOINTS, 6)), shape, camera

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, 3, crop, crop), ImageNet-normalised RGB -> rotations (N, 24, 3, 3), betas (N, 10), camera (N, 3)."""
        return self.body(self.look(x).features)

"""The 24 joints of an SMPL body for losses: no vertex is posed, and no index is copied to a GPU.

`BodyModel.skeleton` gives the same joints up to rounding by way of smplx, which indexes with a tensor on the CPU. A
training that is recorded as a CUDA graph (`training.learner`) must not copy from the host, so it uses these.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from factory.home import at_home
from factory.weights import smpl_file
from factory.weights.locate import resolve


class ForwardKinematics:
    """The joints of one body model, posed. Differentiable."""

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        """path: as for `body.BodyModel`. UserError as `smpl_file.read`."""
        body = smpl_file.read(at_home(resolve(path)))
        regressor = torch.from_numpy(body["J_regressor"].astype(np.float64))
        template = regressor @ torch.from_numpy(body["v_template"].astype(np.float64))
        directions = torch.from_numpy(body["shapedirs"].astype(np.float64)[:, :, :10])
        self.parents = [int(parent) for parent in body["kintree_table"][0]]  # the root's is not looked at
        self.template = template.float().to(device)  # (24, 3) m
        self.directions = torch.einsum("jv,vcb->jcb", regressor, directions).float().to(device)  # (24, 3, 10) m

    def joints(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """rotations (N, 24, 3, 3), betas (N, 10) -> (N, 24, 3) m, before the translation."""
        rest = self.template + torch.einsum("jcb,nb->njc", self.directions, betas)
        turned, placed = [rotations[:, 0]], [rest[:, 0]]
        for joint in range(1, len(self.parents)):
            parent = self.parents[joint]
            bone = (rest[:, joint] - rest[:, parent])[:, :, None]
            placed.append(placed[parent] + (turned[parent] @ bone)[:, :, 0])
            turned.append(turned[parent] @ rotations[:, joint])
        return torch.stack(placed, 1)

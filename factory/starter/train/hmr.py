"""Train the human mesh recovery network on crops of every visible person of the rendered world.

    python -m factory.starter.train.hmr --cache DIR --out DIR --minutes 30

The losses are SPIN's: rotation matrices, shape, root-relative 3D joints, and 2D joints seen by the weak-perspective
camera; and those of what the network says on the way: each joint's map, where that points, and how deep the joint lies.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from factory.models.camera import CROP, FOCAL
from factory.models.hmr import MEAN, STD, load_network
from factory.models.joints import FLIP24
from factory.models.part_hmr import PartHMR
from factory.models.rotations import matrix_to_sixd
from factory.starter.cache import Cache, load
from factory.starter.pack import resolve
from factory.starter.people import People, Skeleton, people
from factory.starter.train import common, pictures

CONFIG = {"layers": [1, 2, 2, 2], "width": 24, "hidden": 512, "crop": 96, "parts": 16}
RATE = 1e-3


def weak_project(joints: Tensor, camera: Tensor) -> Tensor:
    """joints (N, J, 3) m, camera (N, 3) = (s, tx, ty) -> (N, J, 2): -1 ... 1 across the crop (SPIN's camera)."""
    scale = camera[:, None, :1]
    # Perspective at depth 2 FOCAL / (CROP s), written without dividing by s: smooth through s = 0.
    nearness = 1 + scale * joints[..., 2:] * CROP / (2 * FOCAL)
    return scale * (joints[..., :2] + camera[:, None, 1:]) / nearness


def mean_body(some: People) -> dict[str, Tensor]:
    """The network's starting point: mean 6D pose (1, 144), mean shape (1, 10), mean camera (1, 3)."""
    pose = matrix_to_sixd(torch.from_numpy(some.rotations)).flatten(1).mean(0, keepdim=True)
    height = np.ptp(some.pixels[..., 1], 1).mean() / some.crop[:, 2].mean()  # s is about 2 m / the crop in metres
    camera = torch.tensor([[2 * float(height) / 1.5, 0.0, 0.0]])
    return {"init_pose": pose, "init_shape": torch.zeros(1, 10), "init_cam": camera}


def cut_batch(images: Tensor, crop: Tensor, angle: Tensor, mirror: Tensor, size: int) -> Tensor:
    """images (N, 3, H, W), crop (N, 3) px, angle (N,) radians, mirror (N,) +-1 -> (N, 3, size, size), black outside.

    Crop coordinates u in [-1, 1] map to the image as centre + side / 2 * R(angle) diag(mirror, 1) u.
    """
    height, width = images.shape[2:]
    scale = crop[:, 2:] / torch.tensor([width, height])  # half a side in units of half an image
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos * mirror, -sin], -1), torch.stack([sin * mirror, cos], -1)], 1)
    shift = 2 * crop[:, :2] / torch.tensor([width, height]) - 1
    return common.sample(images, torch.cat([turn * scale[:, :, None], shift[:, :, None]], 2), size)


def draw(cache: Cache, some: People, rng: np.random.Generator, batch: int, size: int) -> dict[str, Tensor]:
    """An augmented batch: image (N, 3, size, size) in [0, 1]; rotations, betas; joints2d (N, 24, 2) in -1 ... 1."""
    twice = np.concatenate([np.arange(len(some)), np.flatnonzero(some.hard)])  # hard poses are learnt last
    pick = twice[rng.integers(len(twice), size=batch)]
    images = torch.from_numpy(np.stack([cache.images[i] for i in some.image[pick]])).permute(0, 3, 1, 2) / 255
    crop = torch.from_numpy(some.crop[pick])
    jitter = torch.from_numpy(rng.uniform(-0.08, 0.08, (batch, 2))).float()
    zoom = torch.from_numpy(np.exp(rng.normal(0, 0.1, batch)).clip(0.8, 1.3)).float()
    crop = torch.cat([crop[:, :2] + jitter * crop[:, 2:], (crop[:, 2] * zoom)[:, None]], 1)
    angle = torch.from_numpy(np.deg2rad(rng.normal(0, 12, batch).clip(-35, 35)) * (rng.random(batch) < 0.5)).float()
    mirror = torch.from_numpy(np.where(rng.random(batch) < 0.5, -1.0, 1.0)).float()
    cuts = cut_batch(images, crop, angle, mirror, size)
    poor = torch.from_numpy(np.flatnonzero(rng.random(batch) < 0.5))
    cuts[poor] = common.degrade(cuts[poor], rng)
    for i in np.flatnonzero(rng.random(batch) < 0.15):  # erase a rectangle, as an unknown occluder
        h, w = rng.integers(size // 8, size // 2, 2)
        y, x = rng.integers(size - h), rng.integers(size - w)
        cuts[i, :, y : y + h, x : x + w] = torch.from_numpy(rng.random(3)).float()[:, None, None]

    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros(batch), torch.ones(batch)
    turn = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], -1).view(-1, 3, 3)  # by -angle about z
    rotations = torch.from_numpy(some.rotations[pick]).clone()
    rotations[:, 0] = turn @ rotations[:, 0]
    relative = (torch.from_numpy(some.pixels[pick]) - crop[:, None, :2]) * 2 / crop[:, None, 2:]
    joints2d = torch.einsum("nij,nkj->nki", turn[:, :2, :2], relative)
    flip = mirror < 0
    sign = torch.tensor([-1.0, 1.0, 1.0])
    rotations[flip] = (sign[:, None] * sign * rotations[flip])[:, FLIP24]  # negates y and z of the axis-angle
    joints2d[flip] = (joints2d[flip] * sign[:2])[:, FLIP24]
    return {"image": cuts, "rotations": rotations, "betas": torch.from_numpy(some.betas[pick]), "joints2d": joints2d}


def map_loss(maps: Tensor, joints2d: Tensor, here: Tensor) -> Tensor:
    """maps (N, 24, S, S) logits, joints2d (N, 24, 2) in -1 ... 1, here (N, 24) bool: which to ask for. Mean
    cross-entropy over the cells, against a Gaussian of one cell around each joint."""
    size = maps.shape[-1]
    cells = (2 * torch.arange(size, device=maps.device) + 1) / size - 1
    near = [(-0.5 * ((cells - joints2d[..., i, None]) * size / 2) ** 2).softmax(-1) for i in (0, 1)]
    target = (near[1][..., :, None] * near[0][..., None, :]).flatten(2)
    return -(target * maps.flatten(2).log_softmax(-1)).sum(-1)[here].mean()


def losses(network: PartHMR, skeleton: Skeleton, batch: dict[str, Tensor], bfloat: bool) -> dict[str, Tensor]:
    """The weighted terms, to be summed."""
    x = (batch["image"] - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    target = {key: value.to(skeleton.template.device) for key, value in batch.items()}
    x = x.to(skeleton.template.device).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat):
        seen = network.look(x)
        rotations, betas, camera = network.body(seen.features)
    rotations, betas, camera = rotations.float(), betas.float(), camera.float()
    joints = skeleton.joints(rotations, betas)
    truth = skeleton.joints(target["rotations"], target["betas"])
    here = (target["joints2d"].abs() < 1.2).all(-1)  # no 2D demand far outside the crop
    inside = (target["joints2d"].abs() < 1).all(-1)
    return {
        "maps": 0.3 * map_loss(seen.maps, target["joints2d"], inside),
        "where": 2 * ((seen.where - target["joints2d"]).abs() * inside[..., None]).mean(),
        "depth": 5 * F.l1_loss(seen.depth, truth[..., 2] - truth[:, :1, 2]),
        "pose": 8 * F.mse_loss(rotations, target["rotations"]),
        "betas": 0.02 * F.mse_loss(betas, target["betas"]),
        "joints3d": 12 * F.l1_loss(joints - joints[:, :1], truth - truth[:, :1]),
        "joints2d": 5 * ((weak_project(joints, camera) - target["joints2d"]).abs() * here[..., None]).mean(),
        "camera": torch.exp(-10 * camera[:, 0]).clamp(max=100).mean(),  # SPIN's guard: the body stays in front
    }


def export(network: nn.Module, directory: str | Path) -> None:
    """config.json + model.safetensors in half precision, as `factory.models.hmr` loads."""
    from safetensors.torch import save_file

    Path(directory).mkdir(parents=True, exist_ok=True)
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(weights, Path(directory) / "model.safetensors")
    (Path(directory) / "config.json").write_text(json.dumps(network.config, indent=1) + "\n")


def train(a: Namespace) -> None:
    common.seed_everything(a.seed, a.threads)
    cache, skeleton = load(a.cache), Skeleton(resolve("starter:body"), common.device())
    some = people(cache, Skeleton(resolve("starter:body")))
    print(f"hmr: {len(some)} people in {len(cache.images)} images", flush=True)
    network = PartHMR(**CONFIG)
    network.load_state_dict(network.state_dict() | mean_body(some))
    if a.start:
        network.load_state_dict(load_network(a.start).state_dict(), strict=False)  # of a SPIN: its residual network
    network.to(common.device(), memory_format=torch.channels_last).train()
    average = common.EMA(network)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        common.set_learning_rate(optimizer, common.learning_rate(RATE, index, fraction))
        batch = draw(cache, some, common.rng(a.seed, index), a.batch, CONFIG["crop"])
        terms = losses(network, skeleton, batch, bfloat=common.bfloat(a))
        values = common.descend(terms, optimizer, network.parameters(), 10.0)
        average.update(network)
        return values

    parts = {"model": network, "optimizer": optimizer, "average": average}
    common.fit(
        "hmr", a, step, parts, lambda: export(average.model, a.export), lambda: pictures.hmr(a.export, cache, some)
    )


def main(argv: list[str] | None = None) -> None:
    train(common.parser(__doc__, batch=32).parse_args(argv))


if __name__ == "__main__":
    main()

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

from factory.errors import UserError
from factory.geometry.camera import CROP, FOCAL
from factory.geometry.crops import MEAN, STD
from factory.geometry.joints import FLIP24
from factory.geometry.rotations import matrix_to_sixd
from factory.models.hmr.part_hmr import PartHMR
from factory.models.hmr.spin import load_hmr_network
from factory.starter.cache import load
from factory.starter.pack import resolve
from factory.starter.people import People, Skeleton, people
from factory.starter.train import common, pictures

CONFIG = {"layers": [2, 3, 4, 2], "width": 32, "hidden": 768, "crop": 96, "parts": 24}


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
    half = common.put(np.array([images.shape[3], images.shape[2]], np.float32) / 2)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos * mirror, -sin], -1), torch.stack([sin * mirror, cos], -1)], 1)
    scale, shift = crop[:, 2:] / 2 / half, crop[:, :2] / half - 1
    return common.sample(images, torch.cat([turn * scale[:, :, None], shift[:, :, None]], 2), size)


def erase(images: Tensor, rng: np.random.Generator, share: float = 0.15) -> Tensor:
    """A rectangle of one colour over some of the square images (N, 3, S, S): an unknown occluder."""
    count, size = len(images), images.shape[-1]
    sides = rng.integers(size // 8, size // 2, (count, 2)) * (rng.random((count, 1)) < share)
    low = np.floor(rng.random((count, 2)) * (size - sides))
    low, high = common.put(low)[..., None], common.put(low + sides)[..., None]
    line = torch.arange(size, device=images.device)
    along = (line >= low) & (line < high)  # (N, 2, S)
    colour = common.put(rng.random((count, 3, 1, 1)))
    return torch.where((along[:, 0, :, None] & along[:, 1, None, :])[:, None], colour, images)


class Crops:
    """Augmented batches of the people of a cache; on a CUDA device everything they are made of lies there."""

    def __init__(self, images: np.ndarray, some: People, size: int) -> None:
        self.size, self.pictures = size, common.Pictures(images)
        self.image, self.crop, self.pixels = some.image, some.crop, common.put(some.pixels)
        self.rotations, self.betas = common.put(some.rotations), common.put(some.betas)
        self.twice = np.concatenate([np.arange(len(some)), np.flatnonzero(some.hard)])  # hard poses are learnt last

    def draw(self, rng: np.random.Generator, batch: int) -> dict[str, Tensor]:
        """image (N, 3, size, size), ImageNet-normalised; rotations, betas; joints2d (N, 24, 2) in -1 ... 1."""
        pick = self.twice[rng.integers(len(self.twice), size=batch)]
        here = common.put(pick)
        crop = self.crop[pick]
        jitter, zoom = rng.uniform(-0.08, 0.08, (batch, 2)), np.exp(rng.normal(0, 0.1, (batch, 1))).clip(0.8, 1.3)
        crop = common.put(np.concatenate([crop[:, :2] + jitter * crop[:, 2:], crop[:, 2:] * zoom], 1))
        angle = common.put(np.deg2rad(rng.normal(0, 12, batch).clip(-35, 35)) * (rng.random(batch) < 0.5))
        mirror = common.put(np.where(rng.random(batch) < 0.5, -1.0, 1.0))
        cuts = cut_batch(self.pictures(self.image[pick]), crop, angle, mirror, self.size)
        poor = common.put(np.flatnonzero(rng.random(batch) < 0.5))
        cuts[poor] = common.degrade(cuts[poor], rng)
        cuts = erase(cuts, rng)

        cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
        turn = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], -1).view(-1, 3, 3)  # by -angle about z
        rotations = self.rotations[here]
        rotations[:, 0] = turn @ rotations[:, 0]
        relative = (self.pixels[here] - crop[:, None, :2]) * 2 / crop[:, None, 2:]
        joints2d = torch.einsum("nij,nkj->nki", turn[:, :2, :2], relative)
        sign = common.put(np.array([-1.0, 1, 1]))
        flip = mirror < 0  # negates y and z of the axis-angle
        rotations = torch.where(flip[:, None, None, None], (sign[:, None] * sign * rotations)[:, FLIP24], rotations)
        joints2d = torch.where(flip[:, None, None], (joints2d * sign[:2])[:, FLIP24], joints2d)
        mean, std = (common.put(np.array(value)).view(3, 1, 1) for value in (MEAN, STD))
        image = ((cuts - mean) / std).contiguous(memory_format=torch.channels_last)
        return {"image": image, "rotations": rotations, "betas": self.betas[here], "joints2d": joints2d}


def map_loss(maps: Tensor, joints2d: Tensor, here: Tensor) -> Tensor:
    """maps (N, 24, S, S) logits, joints2d (N, 24, 2) in -1 ... 1, here (N, 24) bool: which to ask for. Mean
    cross-entropy over the cells, against a Gaussian of one cell around each joint."""
    size = maps.shape[-1]
    cells = (2 * torch.arange(size, device=maps.device) + 1) / size - 1
    near = [(-0.5 * ((cells - joints2d[..., i, None]) * size / 2) ** 2).softmax(-1) for i in (0, 1)]
    target = (near[1][..., :, None] * near[0][..., None, :]).flatten(2)
    error = -(target * maps.flatten(2).log_softmax(-1)).sum(-1)
    return (error * here).sum() / here.sum().clamp(min=1)


def losses(network: PartHMR, skeleton: Skeleton, batch: dict[str, Tensor], bfloat: bool) -> dict[str, Tensor]:
    """The weighted terms, to be summed."""
    with torch.autocast(batch["image"].device.type, torch.bfloat16, enabled=bfloat):
        seen = network.look(batch["image"])
        rotations, betas, camera = network.body(seen.features)
    rotations, betas, camera = rotations.float(), betas.float(), camera.float()
    joints = skeleton.joints(rotations, betas)
    truth = skeleton.joints(batch["rotations"], batch["betas"])
    here = (batch["joints2d"].abs() < 1.2).all(-1)  # no 2D demand far outside the crop
    inside = (batch["joints2d"].abs() < 1).all(-1)
    return {
        "maps": 0.3 * map_loss(seen.maps, batch["joints2d"], inside),
        "where": 2 * ((seen.where - batch["joints2d"]).abs() * inside[..., None]).mean(),
        "depth": 5 * F.l1_loss(seen.depth, truth[..., 2] - truth[:, :1, 2]),
        "pose": 8 * F.mse_loss(rotations, batch["rotations"]),
        "betas": 0.02 * F.mse_loss(betas, batch["betas"]),
        "joints3d": 12 * F.l1_loss(joints - joints[:, :1], truth - truth[:, :1]),
        "joints2d": 5 * ((weak_project(joints, camera) - batch["joints2d"]).abs() * here[..., None]).mean(),
        "camera": torch.exp(-10 * camera[:, 0]).clamp(max=100).mean(),  # SPIN's guard: the body stays in front
    }


def export(network: nn.Module, directory: str | Path) -> None:
    """config.json + model.safetensors in half precision, as `factory.models.hmr.spin` loads."""
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
    cache = load(a.cache, *filter(None, [a.redrawn]))
    skeleton = Skeleton(resolve("starter:body"), common.device())
    some = people(cache, Skeleton(resolve("starter:body")))
    print(f"hmr: {len(some)} people in {len(cache)} images", flush=True)
    network = PartHMR(**CONFIG)
    network.load_state_dict(network.state_dict() | mean_body(some))
    if a.start:
        start = load_hmr_network(a.start)
        if start.config != CONFIG:
            raise UserError(f"--start {a.start}: a network of {start.config}, not of {CONFIG}; give one of these")
        network.load_state_dict(start.state_dict())
    network.to(common.device(), memory_format=torch.channels_last).train()
    average = common.EMA(network)
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=a.rate, weight_decay=0.01, fused=torch.cuda.is_available())
    crops = Crops(cache.images, some, CONFIG["crop"])
    descent = common.Descent(
        lambda batch: losses(network, skeleton, batch, bfloat=common.bfloat(a)), optimizer, parameters, 10.0
    )

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        common.set_learning_rate(optimizer, common.learning_rate(a.rate, index, fraction))
        values = descent(crops.draw(common.rng(a.seed, index), a.batch))
        average.update(network)
        return values

    parts = {"model": network, "optimizer": optimizer, "average": average}
    common.fit(
        "hmr", a, step, parts, lambda: export(average.model, a.export), lambda: pictures.hmr(a.export, cache, some)
    )


def main(argv: list[str] | None = None) -> None:
    parser = common.parser(__doc__, batch=32, rate=1e-3)
    parser.add_argument("--redrawn", type=Path, help="another cache: scenes as diffusion redraws them")
    train(parser.parse_args(argv))


if __name__ == "__main__":
    main()

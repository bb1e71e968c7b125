"""Train the human mesh recovery network on crops of every visible person of the rendered world.

The losses are SPIN's (`training.body_losses`), and one for each of the network's intermediate answers: the map of each
joint, the image point that the map gives, and the joint's depth.

Two networks are trained so: `hmr` on all actions, and the smaller `base` on easy ones alone. `base` is what fine-tuning
starts from: hard poses and skiing are domains that it has not seen.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from factory.errors import UserError
from factory.geometry.body import BodyModel
from factory.geometry.crops import MEAN, STD
from factory.geometry.joints import FLIP24
from factory.geometry.rotations import matrix_to_sixd
from factory.models.hmr.part_hmr import PartHMR
from factory.models.hmr.spin import load_hmr_network
from factory.starter.train.samples import hmr_samples
from factory.starter.world.actions import ACTIONS
from factory.starter.world.cache import Cache
from factory.starter.world.people import VisiblePeople, visible_people
from factory.training.augment import cut_turned, degrade, erase
from factory.training.average import EMA
from factory.training.body_losses import body_losses, map_loss
from factory.training.learner import Descent, Learner
from factory.training.loop import fit
from factory.training.options import TrainingOptions
from factory.training.randomness import seed_everything, step_rng
from factory.training.tensors import ImageRows, bfloat16_is_fast, to_device, training_device

BATCH, RATE = 32, 1e-3
CONFIG = {"layers": [2, 3, 4, 2], "width": 32, "hidden": 768, "crop": 96, "parts": 24}
BASE = {"layers": [2, 2, 3, 2], "width": 20, "hidden": 512, "crop": 96, "parts": 20}
SKIING = "winter activities"  # counts as easy, but is a target domain of fine-tuning


def mean_body(people: VisiblePeople) -> dict[str, Tensor]:
    """The network's starting point: mean 6D pose (1, 144), mean shape (1, 10), mean camera (1, 3)."""
    pose = matrix_to_sixd(torch.from_numpy(people.rotations)).flatten(1).mean(0, keepdim=True)
    height = np.ptp(people.pixels[..., 1], 1).mean() / people.crop[:, 2].mean()
    # A person's joints span about 1.5 m and `height` of the crop; s is 2 m over the side of the crop in metres.
    camera = torch.tensor([[2 * float(height) / 1.5, 0.0, 0.0]])
    return {"init_pose": pose, "init_shape": torch.zeros(1, 10), "init_cam": camera}


class CropBatches:
    """Augmented batches of crops of people; on a CUDA device all that they are made of lies there."""

    def __init__(self, images: np.ndarray, people: VisiblePeople, size: int) -> None:
        """images (N, H, W, 3) uint8 that people.image points into; size: px of the crops."""
        self.size, self.images = size, ImageRows(images)
        self.image, self.crop, self.pixels = people.image, people.crop, to_device(people.pixels)
        self.rotations, self.betas = to_device(people.rotations), to_device(people.betas)
        # People in hard poses are drawn twice as often: their poses are learnt last.
        self.rows = np.concatenate([np.arange(len(people)), np.flatnonzero(people.hard)])

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Tensor]:
        """`image` (N, 3, size, size), ImageNet-normalised; `rotations`, `betas`; `joints2d` (N, 24, 2) in -1 ... 1."""
        rows = self.rows[rng.integers(len(self.rows), size=count)]
        on_device = to_device(rows)
        crop = self.crop[rows]
        jitter, zoom = rng.uniform(-0.08, 0.08, (count, 2)), np.exp(rng.normal(0, 0.1, (count, 1))).clip(0.8, 1.3)
        crop = to_device(np.concatenate([crop[:, :2] + jitter * crop[:, 2:], crop[:, 2:] * zoom], 1))
        angle = to_device(np.deg2rad(rng.normal(0, 12, count).clip(-35, 35)) * (rng.random(count) < 0.5))
        mirror = to_device(np.where(rng.random(count) < 0.5, -1.0, 1.0))
        crops = cut_turned(self.images(self.image[rows]), crop, angle, mirror, self.size)
        poor = to_device(np.flatnonzero(rng.random(count) < 0.5))
        crops[poor] = degrade(crops[poor], rng)
        crops = erase(crops, rng)

        cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
        turn = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], -1).view(-1, 3, 3)  # by -angle about z
        rotations = self.rotations[on_device]
        rotations[:, 0] = turn @ rotations[:, 0]
        relative = (self.pixels[on_device] - crop[:, None, :2]) * 2 / crop[:, None, 2:]
        joints2d = torch.einsum("nij,nkj->nki", turn[:, :2, :2], relative)
        sign = to_device(np.array([-1.0, 1, 1]))
        flip = mirror < 0  # a mirror image negates y and z of each axis-angle vector and exchanges left and right
        rotations = torch.where(flip[:, None, None, None], (sign[:, None] * sign * rotations)[:, FLIP24], rotations)
        joints2d = torch.where(flip[:, None, None], (joints2d * sign[:2])[:, FLIP24], joints2d)
        mean, std = (to_device(np.array(value)).view(3, 1, 1) for value in (MEAN, STD))
        image = ((crops - mean) / std).contiguous(memory_format=torch.channels_last)
        return {"image": image, "rotations": rotations, "betas": self.betas[on_device], "joints2d": joints2d}


def hmr_losses(network: PartHMR, body: BodyModel, batch: dict[str, Tensor], bfloat: bool) -> dict[str, Tensor]:
    """The weighted terms, to be summed. batch: as `CropBatches.draw` returns it."""
    with torch.autocast(batch["image"].device.type, torch.bfloat16, enabled=bfloat):
        seen = network.look(batch["image"])
        rotations, betas, camera = network.body(seen.features)
    rotations, betas, camera = rotations.float(), betas.float(), camera.float()
    joints = body.skeleton(rotations, betas)
    true_joints = body.skeleton(batch["rotations"], batch["betas"])
    inside = (batch["joints2d"].abs() < 1).all(-1)
    return {
        "maps": 0.3 * map_loss(seen.maps, batch["joints2d"], inside),
        "position": 2 * ((seen.position - batch["joints2d"]).abs() * inside[..., None]).mean(),
        "depth": 5 * F.l1_loss(seen.depth, true_joints[..., 2] - true_joints[:, :1, 2]),
        **body_losses((rotations, betas, camera), joints, batch, true_joints),
    }


def export_hmr(network: PartHMR, folder: Path) -> None:
    """Write config.json and model.safetensors (half precision), as `factory.models.hmr.spin` loads them."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(network.config, indent=1) + "\n")


def familiar_people(people: VisiblePeople, cache: Cache) -> VisiblePeople:
    """Those whose actions `base` may see: neither hard nor skiing."""
    skiing = np.asarray(cache.action)[people.image] == list(ACTIONS).index(SKIING)
    return people.take(np.flatnonzero(~people.hard & ~skiing))


def train_hmr(options: TrainingOptions, cache: Cache, start: Path | None = None, base: bool = False) -> None:
    """Train on the people of the cache. start: an earlier export to start from; UserError where its network is of
    another size. base: train the network BASE, on easy actions alone."""
    seed_everything(options.seed, options.threads)
    batch_size, rate = options.batch or BATCH, options.rate or RATE
    bfloat = bfloat16_is_fast() and not options.full_precision
    body = BodyModel("starter:body", training_device())
    people = visible_people(cache, BodyModel("starter:body"))
    people = familiar_people(people, cache) if base else people
    name, config = ("base", BASE) if base else ("hmr", CONFIG)
    print(f"{name}: {len(people)} people in {len(cache)} images", flush=True)
    network = PartHMR(**config)
    network.load_state_dict(network.state_dict() | mean_body(people))
    if start:
        trained = load_hmr_network(str(start))
        if trained.config != config:
            raise UserError(f"--start {start}: a network of {trained.config}, not of {config}; give one of these")
        network.load_state_dict(trained.state_dict())
    network.to(training_device(), memory_format=torch.channels_last).train()
    average, parameters = EMA(network), list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, fused=torch.cuda.is_available())
    crops = CropBatches(cache.images, people, config["crop"])
    descent = Descent(lambda batch: hmr_losses(network, body, batch, bfloat), optimizer, parameters, 10.0)
    learner = Learner(network, descent, rate, average=average)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        return learner.step(index, fraction, crops.draw(step_rng(options.seed, index), batch_size))

    fit(
        name, options, step, learner.parts,
        lambda: export_hmr(average.model, options.export), lambda: hmr_samples(options.export, cache, people),
    )  # fmt: skip

"""What each method trains on beside the 2D keypoints of the real images: one small class each.

A `Method` may add images with bodies to each batch (`pairs`: L3D of the paper), or bodies to the real images
(`supervise`). The engine of the loss is `losses.spin_losses`, whichever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from factory.finetune.crops import Crops, Labels, Shuffled, Views
from factory.finetune.network_files import HMR
from factory.finetune.options import FinetuneOptions
from factory.finetune.ranks import Ranks
from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.joints import J24_PART
from factory.models.priors.base import VPoserPrior
from factory.models.priors.choice import load_prior
from factory.training.checkpoint import Stateful
from factory.training.learner import Batch

VPOSER = "vposer-v1"  # the kind of a prior that is named without one, as in jobs
BATCH = 64  # crops that an estimate looks at a time


@dataclass(frozen=True, eq=False)
class MethodContext:
    """What a method may use: the options; `real`, the crops of the real images; `synthetic`, those of --synthetic, or
    None; `network`, which is trained; `start`, which loads the network that the training starts from; body and ranks.
    """

    options: FinetuneOptions
    real: Crops
    synthetic: Crops | None
    network: HMR
    start: Callable[[], HMR]
    body: BodyModel
    ranks: Ranks

    def load_prior(self) -> VPoserPrior:
        """The pose prior that the options name. UserError as `load_prior`."""
        kind, _, model = self.options.prior.rpartition("=")
        return load_prior(kind or VPOSER, model, self.body.device)


class Method:
    """2d: nothing beside the keypoints. The base of all others."""

    paired = False  # whether part of each batch are images with bodies
    unused: tuple[str, ...] = ("2d", "3d", "pose", "betas")  # terms of `spin_losses` that are always 0

    def __init__(self, context: MethodContext) -> None:
        self.context = context

    def pairs(self, step: int, count: int, rng: np.random.Generator) -> Batch:
        """This process's part of the `count` images with bodies of a step: `image`, `keypoints`, `rotations`,
        `betas`, see `Crops.draw`."""
        raise NotImplementedError

    def supervise(self, real: Batch, rows: np.ndarray, views: Views) -> Tensor | None:
        """Give the real images of a batch bodies, `rotations` and `betas`. rows, views: which people they show, and
        how. Returns (B,) bool: which of them have one; None for none."""
        return None

    def renew(self) -> None:
        """Make anew what follows from the network. It is called where a training starts or resumes, and after each
        measurement, so that a resumed training goes on as an uninterrupted one."""

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """What a checkpoint must hold beside the network."""
        return {}


class Pairs(Method):
    """ours, controlnet: the people of --synthetic."""

    paired = True
    unused = ()

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        self.order = Shuffled(len(context.synthetic or context.real), context.options.seed, 1)

    @cached_property
    def source(self) -> Crops:
        """The crops with bodies that batches are drawn from."""
        assert self.context.synthetic is not None
        return self.context.synthetic

    def pairs(self, step: int, count: int, rng: np.random.Generator) -> Batch:
        part, views = self.context.ranks.part, Views.draw(rng, count)
        return self.source.draw(self.order.take(step, count)[part], views.take(part))


class SelfTraining(Pairs):
    """self: the start's own estimates on the real images, as if they were true. If redrawn images teach no more than
    this, redrawing buys nothing."""

    @cached_property
    def source(self) -> Crops:
        real, body = self.context.real, self.context.body
        rotations, betas, camera = estimate(self.context.start(), real)
        points = project_on_crop(spin49(body.joints54(rotations, betas)), camera)
        keypoints = torch.cat([points, torch.ones_like(points[..., :1])], -1)
        keypoints[:, : J24_PART.start, 2] = 0
        return real.with_labels(Labels(keypoints, rotations, betas))


@torch.no_grad()
def estimate(network: HMR, crops: Crops) -> tuple[Tensor, Tensor, Tensor]:
    """What the network says of all people, seen as they are: rotations (N, 24, 3, 3), betas (N, 10), camera (N, 3).
    The network is used in eval mode and left in the mode it was in."""
    training = network.training
    network.eval()
    parts = []
    for first in range(0, len(crops), BATCH):
        rows = np.arange(first, min(first + BATCH, len(crops)))
        parts.append(network(crops.draw(rows, Views.plain(len(rows)))["image"]))
    network.train(training)
    rotations, betas, camera = (torch.cat(values) for values in zip(*parts, strict=True))
    return rotations, betas, camera

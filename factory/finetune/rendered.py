"""dapa: the network is trained on renderings of textured bodies, in varied poses that it estimates on the real images
(Weng et al. 2022)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from factory.finetune.crops import Views, normalised
from factory.finetune.methods import Method, MethodContext, estimate
from factory.finetune.textured import Textured
from factory.geometry.joints import J24_PART, OPENPOSE_PART
from factory.geometry.rotations import matrix_to_axis_angle
from factory.training.learner import Batch
from factory.training.tensors import to_device

CHUNK = 64  # real images cut at a time


class Rendered(Method):
    """dapa: part of each batch are renderings. Their poses vary the network's estimates, which are made anew at each
    measurement; colours and backgrounds are those of the real images."""

    paired = True
    unused = ()

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        self.prior = context.load_prior()

    @cached_property
    def textured(self) -> Textured:
        """Made from the start's estimates."""
        context, count = self.context, len(self.context.real)
        chunks = [np.arange(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
        images = torch.cat(
            [(context.real.pixels(rows, Views.plain(len(rows))) * 255).round().byte() for rows in chunks]
        )
        rotations, betas, camera = estimate(context.start(), context.real)
        pose = matrix_to_axis_angle(rotations).flatten(1)
        keypoints = context.real.labels.keypoints[:, J24_PART]
        return Textured(context.body, self.prior, images, pose, betas, camera, keypoints=keypoints)

    def renew(self) -> None:
        """See `Method`."""
        rotations, betas, camera = estimate(self.context.network, self.context.real)
        self.textured.estimate(matrix_to_axis_angle(rotations).flatten(1), betas, camera)

    def pairs(self, step: int, count: int, rng: np.random.Generator) -> Batch:
        """See `Method`. Each process draws other renderings."""
        context = self.context
        own, count = (
            np.random.default_rng((context.options.seed, step, context.ranks.rank, 2)),
            count // context.ranks.total,
        )
        views = Views.draw(own, count)
        drawn = self.textured.draw(own, count, views.turn, views.mirror)
        keypoints = drawn["keypoints"].clone()
        keypoints[:, OPENPOSE_PART, 2] = 0
        image: Tensor = (drawn["image"] * to_device(views.colour)[..., None, None]).clamp(0, 1)
        return {
            "image": normalised(image), "keypoints": keypoints,
            "rotations": drawn["rotations"], "betas": drawn["betas"],
        }  # fmt: skip

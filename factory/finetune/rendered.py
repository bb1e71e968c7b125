"""dapa: the network is trained on renderings of textured bodies, in varied poses that it estimates on the real images
(Weng et al. 2022)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from factory.finetune.crops import Batch, Views, normalised
from factory.finetune.methods import Method, Setting, estimate
from factory.finetune.textured import Textured
from factory.geometry.joints import OPENPOSE_PART
from factory.geometry.rotations import matrix_to_axis_angle
from factory.training.tensors import to_device

CHUNK = 64  # real images cut at a time


class Rendered(Method):
    """dapa: part of each batch are renderings. Their poses vary the network's estimates, which are made anew at each
    measurement; colours and backgrounds are those of the real images."""

    paired = True
    unused = ()

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.prior = setting.load_prior()

    @cached_property
    def textured(self) -> Textured:
        """Made from the start's estimates."""
        setting, count = self.setting, len(self.setting.real)
        chunks = [np.arange(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
        images = torch.cat(
            [(setting.real.pixels(rows, Views.plain(len(rows))) * 255).round().byte() for rows in chunks]
        )
        rotations, betas, camera = estimate(setting.start(), setting.real)
        pose = matrix_to_axis_angle(rotations).flatten(1)
        return Textured(setting.body, self.prior, images, pose, betas, camera)

    def renew(self) -> None:
        """See `Method`."""
        rotations, betas, camera = estimate(self.setting.network, self.setting.real)
        self.textured.estimate(matrix_to_axis_angle(rotations).flatten(1), betas, camera)

    def pairs(self, step: int, count: int, rng: np.random.Generator) -> Batch:
        """See `Method`. Each process draws other renderings."""
        setting = self.setting
        own, count = (
            np.random.default_rng((setting.options.seed, step, setting.ranks.rank, 2)),
            count // setting.ranks.total,
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

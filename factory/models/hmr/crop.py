"""An estimator made of a network that looks at one square crop of each person."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor

from factory.geometry.crops import LOOSE, cut, cut_box, keypoint_crop, normalise, square_crop, whole_pixels
from factory.geometry.rotations import matrix_to_axis_angle
from factory.models.hmr.base import BodyEstimate

Predict = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


class CropHMR:
    """Estimates all people of all images in one batch, each from a crop of its own. A `base.BodyEstimator`."""

    finds = False

    def __init__(
        self, predict: Predict, size: int, device: torch.device, crop_scale: float = LOOSE, snap: bool = False
    ) -> None:
        """predict: (N, 3, size, size) ImageNet-normalised RGB on the device -> rotations (N, 24, 3, 3), the root's
        first; betas (N, 10); camera (N, 3) = s, tx, ty. size: px. crop_scale: a crop's side over the longer side of the
        person's box. snap: cut crops at whole pixels, as SPIN's code does, instead of at fractions of one.
        """
        self.predict, self.size, self.device, self.crop_scale = predict, size, device, crop_scale
        self.snap = snap

    @torch.no_grad()
    def estimate(self, images: list[np.ndarray], boxes: list[np.ndarray] | None) -> list[BodyEstimate]:
        """See `base.BodyEstimator`."""
        assert boxes is not None
        crops = [[self._crop(box) for box in some] for some in boxes]
        pixels = [self._cut(image, crop) for image, some in zip(images, crops, strict=True) for crop in some]
        if not pixels:
            return [BodyEstimate.nobody() for _ in images]
        rotations, betas, camera = self.predict(normalise(np.stack(pixels)).to(self.device))
        pose = matrix_to_axis_angle(rotations).flatten(1).cpu().numpy()
        if self.snap:  # the camera belongs to what the network saw
            crops = [[whole_pixels(crop)[1] for crop in some] for some in crops]
        flat = np.array([crop for some in crops for crop in some])
        everybody = BodyEstimate(pose[:, :3], pose[:, 3:], betas.cpu().numpy(), camera.cpu().numpy(), flat)
        ends = accumulate((len(some) for some in crops), initial=0)
        return [everybody[first:last] for first, last in pairwise(ends)]

    def _cut(self, image: np.ndarray, crop: np.ndarray) -> np.ndarray:
        return cut_box(image, whole_pixels(crop)[0], self.size) if self.snap else cut(image, crop, self.size)

    def _crop(self, person: np.ndarray) -> np.ndarray:
        crop = square_crop if person.ndim == 1 else keypoint_crop
        return crop(person, self.crop_scale)

"""Keypoints of known people in real images: an .npz as SPIN's preprocessed data sets are (Kolotouros et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factory.errors import UserError
from factory.home import at_home
from factory.sources.names import Rows, image_names, matches
from factory.sources.poses import MOST
from factory.untrusted import Unreadable, arrays

SHAPES = {"openpose": (25, 3), "part": (24, 3)}  # in the order of SPIN-49


@dataclass(frozen=True)
class Known:
    """keypoints (N, 49, 3) float32: x, y px of the whole image and confidence, 0 = unknown, of N people in SPIN-49
    order; rows: image -> its people, see `names.Rows`."""

    keypoints: np.ndarray
    rows: Rows

    def of(self, image: str) -> np.ndarray:
        """(n, 49, 3): the people of an image called so in the images' source."""
        return self.keypoints[self.rows.of(image)]


def load(path: str) -> Known:
    """UserError where the file is missing or not laid out so: which key, and what was expected."""
    file = at_home(path)
    if not file.is_file():
        raise UserError(f"images.keypoints: no such file: {path}; give an .npz with imgname, part or openpose")
    try:
        stored = arrays.npz(file, {**dict.fromkeys(SHAPES, arrays.NUMBERS), "imgname": arrays.TEXTS}, MOST)
    except Unreadable as error:
        raise UserError(f"images.keypoints: {path} is no plain .npz ({error})") from None
    if "imgname" not in stored or len(stored) < 2:
        raise UserError(f"images.keypoints: {path} needs imgname, and part (N, 24, 3) or openpose (N, 25, 3)")
    images = image_names(stored["imgname"])
    parts = []
    for name, shape in SHAPES.items():
        part = stored.get(name, np.zeros((len(images), *shape)))
        if part.shape != (len(images), *shape):
            raise UserError(f"images.keypoints: {path}: {name} is {part.shape}, not {(len(images), *shape)}")
        if part.dtype.kind not in "iuf":
            raise UserError(f"images.keypoints: {path}: {name} holds no numbers, but {part.dtype}")
        parts.append(part.astype(np.float32))
    keypoints = np.concatenate(parts, 1)
    if not np.isfinite(keypoints).all():
        raise UserError(f"images.keypoints: {path} is not finite everywhere")
    unknown = np.flatnonzero(~(keypoints[..., 2] > 0).any(1))
    if len(unknown):
        raise UserError(f"images.keypoints: {path}: row {unknown[0]} knows no keypoint (confidence 0 everywhere)")
    return Known(keypoints, Rows(images))


def require(path: str, images: list[str]) -> str:
    """How many of the images have keypoints, in words. UserError where the file is not as it should be, or knows
    nobody in any of the images."""
    return matches("images.keypoints", path, load(path).rows, images)

"""Keypoints of known people in real images, from an .npz as SPIN preprocesses data sets (Kolotouros et al. 2019)."""

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
class KnownPeople:
    """keypoints (N, 49, 3) float32 of N people in SPIN-49 order: x and y in px of the whole image, and confidence, 0 =
    unknown; rows: the people of each image."""

    keypoints: np.ndarray
    rows: Rows

    def of(self, image: str) -> np.ndarray:
        """(n, 49, 3): the keypoints of the people in an image, by the name that the images' source gives it."""
        return self.keypoints[self.rows.of(image)]


def load_keypoints(path: str) -> KnownPeople:
    """The keypoints of the file. UserError where it is missing or laid out otherwise, with key and wanted shape."""
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
    return KnownPeople(keypoints, Rows(images))


def require_keypoints(path: str, images: list[str]) -> str:
    """A sentence that says how many of the images have keypoints. UserError as `load_keypoints`, and where none has."""
    return matches("images.keypoints", path, load_keypoints(path).rows, images)

"""Keypoints of known people in real images, from an .npz as SPIN preprocesses data sets (Kolotouros et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from factory.errors import UserError
from factory.home import at_home
from factory.sources.names import Rows, image_names, matches
from factory.sources.poses import MOST
from factory.untrusted import Unreadable, arrays

KEYPOINTS = {"openpose": (25, 3), "part": (24, 3)}  # in the order of SPIN-49


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
    file, label = at_home(path), f"images.keypoints: {path}"
    if not file.is_file():
        raise UserError(f"images.keypoints: no such file: {path}; give an .npz with imgname, part or openpose")
    images, stored = spin_columns(file, label, KEYPOINTS, MOST)
    if not stored:
        raise UserError(f"{label} needs imgname, and part (N, 24, 3) or openpose (N, 25, 3)")
    keypoints = spin_keypoints(stored, len(images))
    unknown = np.flatnonzero(~(keypoints[..., 2] > 0).any(1))
    if len(unknown):
        raise UserError(f"{label}: row {unknown[0]} knows no keypoint (confidence 0 everywhere)")
    return KnownPeople(keypoints, Rows(images))


def spin_columns(
    file: Path, label: str, shapes: Mapping[str, tuple[int, ...]], most: int
) -> tuple[list[str], dict[str, np.ndarray]]:
    """(imgname, those arrays of `shapes` that the .npz holds: name -> (N, *shape) float32) of a file as SPIN
    preprocesses data sets. most: bytes altogether. UserError, which begins with `label`: damaged, without imgname, of
    another shape or type than `shapes` says, or not finite."""
    try:
        stored = arrays.npz(file, {**dict.fromkeys(shapes, arrays.NUMBERS), "imgname": arrays.TEXTS}, most)
    except Unreadable as error:
        raise UserError(f"{label} is no plain .npz ({error})") from None
    if "imgname" not in stored:
        raise UserError(f"{label} needs imgname (N,), the image of each row, and labels of N rows")
    images, columns = image_names(stored.pop("imgname")), {}
    for name, column in stored.items():
        wanted = (len(images), *shapes[name])
        if column.shape != wanted:
            raise UserError(f"{label}: {name} is {column.shape}, not {wanted}")
        if column.dtype.kind not in "iufb":
            raise UserError(f"{label}: {name} holds no numbers, but {column.dtype}")
        columns[name] = column.astype(np.float32)
        if not np.isfinite(columns[name]).all():
            raise UserError(f"{label} is not finite everywhere ({name})")
    return images, columns


def spin_keypoints(columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """(count, 49, 3) float32 of the columns openpose and part; confidence 0 where a column is missing."""
    return np.concatenate(
        [columns.get(name, np.zeros((count, *shape), np.float32)) for name, shape in KEYPOINTS.items()], 1
    )


def require_keypoints(path: str, images: list[str]) -> str:
    """A sentence that says how many of the images have keypoints. UserError as `load_keypoints`, and where none has."""
    return matches("images.keypoints", path, load_keypoints(path).rows, images)

"""Ski-PosePTZ-Camera (Rhodin et al. 2018; Spoerri 2016): SPLIT/labels.h5 beside SPLIT/seq_*/cam_*/image_*.png.

labels.h5 holds seq, cam and frame (N,), numbers that name the image; 2D (N, 34): 17 joints in Human3.6M's order, x and
y as shares of the image's 256 px; and 3D (N, 51): the same joints in metres, camera frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.geometry.crops import LOOSE, person_crop
from factory.geometry.joints import H36M_TORSOS
from factory.job import ImagesSpec
from factory.sources.item import Item, Listing, file_size, root

SIDE = 256  # px of each image
ACTION = "alpine skiing"
MOST = 51 * 1_000_000  # numbers of one array; the data set has 20,000 images
LARGEST = 1e9


@dataclass(frozen=True, eq=False)
class SkiLabels:
    """N people, one in each image. names: of the images, below the data set's folder; joints2d (N, 17, 2) px and
    joints3d (N, 17, 3) m, in the order of geometry.joints.H36M17; joints3d is None where labels.h5 has no 3D."""

    names: list[str]
    joints2d: np.ndarray
    joints3d: np.ndarray | None

    def windows(self) -> list[tuple[float, float, float]]:
        """(centre x, centre y, side) px of each person's square."""
        known = np.ones(17, bool)
        return [person_crop(joints, known, H36M_TORSOS, LOOSE) for joints in self.joints2d]


def listing(spec: ImagesSpec) -> Listing:
    """The images in the order of the labels. UserError where labels.h5 is missing or laid out otherwise."""
    found = labels(spec, with_3d=False)
    folder = root(spec)
    return Listing(
        [
            Item(name, ACTION, window, file_size(f"{folder}/{name}"))
            for name, window in zip(found.names, found.windows(), strict=True)
        ]
    )


def labels(spec: ImagesSpec, with_3d: bool = True) -> SkiLabels:
    """The labels of one split, in the order of the file. UserError as `listing`."""
    try:
        import h5py
    except ImportError:
        raise UserError("images.kind skipose reads HDF5: pip install -c constraints.txt h5py") from None
    path = root(spec) / spec.split / "labels.h5"
    try:
        with h5py.File(path, "r") as file:
            numbers = np.stack([_array(file, name).reshape(-1).astype(int) for name in ("seq", "cam", "frame")], 1)
            joints2d = _array(file, "2D").reshape(len(numbers), 17, 2) * SIDE
            there = with_3d and "3D" in file
            joints3d = _array(file, "3D").reshape(len(numbers), 17, 3) if there else None
    except FileNotFoundError:
        raise UserError(f"images.path: {path} is missing; give the folder of Ski-PosePTZ, from its authors") from None
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"images.path: {path} is not Ski-PosePTZ's: seq, cam, frame, 2D (N, 34) ({error})") from None
    names = [f"{spec.split}/seq_{seq:03d}/cam_{cam:02d}/image_{frame:06d}.png" for seq, cam, frame in numbers]
    return SkiLabels(names, joints2d, joints3d)


def _array(file: Any, name: str) -> np.ndarray:
    """One array of the labels, float64. ValueError where it does not hold numbers, holds too many or some that are not
    finite, or where it lies in another file, which HDF5 would open. KeyError where it is missing."""
    import h5py

    if name in file and not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu":
        raise ValueError(f"{name} is no array of numbers")
    if found.external or found.is_virtual:
        raise ValueError(f"{name} lies in another file")
    unpacked = max(found.size or 0, math.prod(found.chunks or ()))  # a chunk may be longer than the array
    if found.size is None or unpacked > MOST:  # a header of a few bytes may promise a terabyte
        raise ValueError(f"{name} has {found.size or 'no'} numbers; up to {MOST:,} are read")
    values = np.asarray(found[()], np.float64)
    if not np.isfinite(values).all() or np.abs(values).max(initial=0) > LARGEST:
        raise ValueError(f"{name} is not finite everywhere")
    return values

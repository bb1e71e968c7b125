"""Ski-PosePTZ-Camera (Rhodin et al. 2018; Spoerri 2016): SPLIT/labels.h5 beside SPLIT/seq_*/cam_*/image_*.png.

labels.h5: seq, cam, frame (N,) numbers that name the image; 2D (N, 34) = 17 joints of Human3.6M's order, x and y as
shares of the image's 256 px.
"""

from __future__ import annotations

import numpy as np

from factory.errors import UserError
from factory.job import Images
from factory.sources.crop import person_window
from factory.sources.item import Item, Listing, root, size_of

SIDE = 256  # px
TORSO = [(14, 1), (11, 4)]  # shoulder, hip: right, left
ACTION = "alpine skiing"


def listing(spec: Images) -> Listing:
    """The images in the order of the labels. UserError: no labels.h5 there, or not such a one."""
    try:
        import h5py
    except ImportError:
        raise UserError("images.kind skipose reads HDF5: pip install -c constraints.txt h5py") from None
    path = root(spec) / spec.split / "labels.h5"
    try:
        with h5py.File(path, "r") as file:
            columns = [np.asarray(file[name][:]).reshape(-1).astype(int) for name in ("seq", "cam", "frame")]
            numbers = np.stack(columns, 1)
            joints = np.asarray(file["2D"][:], np.float64).reshape(len(numbers), 17, 2) * SIDE
    except FileNotFoundError:
        raise UserError(f"images.path: {path} is missing; give the folder of Ski-PosePTZ, from its authors") from None
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"images.path: {path} is not Ski-PosePTZ's: seq, cam, frame, 2D (N, 34) ({error})") from None
    seen, items = np.ones(17, bool), []
    for (seq, cam, frame), pose in zip(numbers, joints, strict=True):
        name = f"{spec.split}/seq_{seq:03d}/cam_{cam:02d}/image_{frame:06d}.png"
        items.append(Item(name, ACTION, person_window(pose, seen, TORSO), size_of(f"{root(spec)}/{name}")))
    return Listing(items)

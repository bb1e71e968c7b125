"""People of an .npz as SPIN preprocesses data sets (Kolotouros et al. 2019), such as its 3DPW and Human3.6M."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from factory.errors import UserError
from factory.job import ImagesSpec
from factory.labelled.base import SKELETON_J24, ImageFiles, LabelledPeople
from factory.sources.item import shown_name
from factory.sources.keypoints import KEYPOINTS, spin_columns, spin_keypoints
from factory.sources.names import image_names
from factory.untrusted import Unreadable, arrays

PX = 200.0  # `scale` is the side of the crop in units of so many px
MOST = 2_000_000_000  # bytes of the arrays that are read: those of a million people
COLUMNS: dict[str, tuple[int, ...]] = {
    "center": (2,), "scale": (), "pose": (72,), "shape": (10,), "has_smpl": (), "S": (24, 4), **KEYPOINTS,
}  # fmt: skip
LABELS = ("pose", "S", *KEYPOINTS)  # at least one of them must be there
GENDERS = ("m", "f", "")


def open_spin_file(name: str, file: Path, folder: Path) -> LabelledPeople:
    """The rows of the file, whose `imgname` are paths below `folder`. UserError: missing, damaged, laid out otherwise,
    or an image outside the folder. A text column `action`, which SPIN's own files lack, gives the actions."""
    if not file.is_file():
        raise UserError(f"{name}: no such file: {file}; give an .npz of SPIN's layout")
    images, columns = spin_columns(file, name, COLUMNS, MOST)
    if missing := [column for column in ("center", "scale") if column not in columns]:
        raise UserError(f"{name} lacks {' and '.join(missing)}: the square around each person, in px and in 200 px")
    if not any(column in columns for column in LABELS):
        raise UserError(f"{name} holds no label: it needs keypoints (part, openpose), pose and shape, or 3D joints (S)")
    if "pose" in columns and "shape" not in columns:
        raise UserError(f"{name} has pose (N, 72) but lacks shape (N, 10)")
    if (flat := np.flatnonzero(columns["scale"] <= 0)).size:
        raise UserError(f"{name}: scale of row {flat[0]} is not above 0")
    for row, image in enumerate(images):
        path = PurePosixPath(image)
        if path.is_absolute() or ".." in path.parts or "\0" in image:
            raise UserError(f"{name}: imgname of row {row} leaves the folder of the images: {shown_name(image)}")
    pose, betas = columns.get("pose"), columns.get("shape")
    if pose is None:
        betas = None
    elif betas is not None and "has_smpl" in columns:
        without = columns["has_smpl"] == 0
        pose[without], betas[without] = np.nan, np.nan
    texts = _texts(name, file, len(images))
    gender = texts.get("gender")
    if gender and (odd := set(gender) - set(GENDERS)):
        raise UserError(f"{name}: gender is {shown_name(sorted(odd)[0])}; write m, f or nothing")
    return LabelledPeople(
        name=name,
        images=tuple(images),
        crop=np.concatenate([columns["center"], PX * columns["scale"][:, None]], 1),
        keypoints=spin_keypoints(columns, len(images)),
        action=texts.get("action", ("",) * len(images)),
        pose=pose,
        betas=betas,
        joints3d=columns.get("S"),
        skeleton=SKELETON_J24 if "S" in columns else None,
        body=None,
        reader=ImageFiles(name, ImagesSpec(kind="folder", path=str(folder))),
        gender=gender,
    )


def _texts(name: str, file: Path, count: int) -> dict[str, tuple[str, ...]]:
    try:
        stored = arrays.npz(file, dict.fromkeys(("gender", "action"), arrays.TEXTS), MOST)
    except Unreadable as error:
        raise UserError(f"{name} is no plain .npz ({error})") from None
    for column, values in stored.items():
        if values.shape != (count,):
            raise UserError(f"{name}: {column} is {values.shape}, not {(count,)}")
    return {column: tuple(image_names(values)) for column, values in stored.items()}

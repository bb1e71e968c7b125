"""Given poses: SMPL parameters and weak-perspective cameras from an .npz, or from EFT's .json (Joo et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from factory.errors import UserError
from factory.home import at_home
from factory.job import PosesSpec
from factory.models.hmr.base import BodyEstimate
from factory.sources.names import Rows, image_names, matches
from factory.untrusted import Unreadable, arrays, text

SHAPES = {"pose": (72,), "betas": (10,), "camera": (3,), "crop": (3,)}
EFT = {"parm_pose": (24, 3, 3), "parm_shape": (10,), "parm_cam": (3,), "bbox_center": (2,), "bbox_scale": ()}
MOST = 400_000_000  # bytes of an .npz, unpacked: about a million poses
EFT_UNIT = 200.0  # px: EFT gives the side of a box in units of so many


@dataclass(frozen=True)
class GivenPoses:
    """N poses, a row each, float32. pose (N, 72): axis-angles in radians, root first, camera frame; betas (N, 10);
    camera (N, 3): the weak-perspective (s, tx, ty) on the square crop; crop (N, 3): its centre x, centre y and side, px
    of the whole image, or None where the file has no crops. images: the image of each row; empty where the file names
    none."""

    pose: np.ndarray
    betas: np.ndarray
    camera: np.ndarray
    crop: np.ndarray | None
    images: list[str]

    def __len__(self) -> int:
        return len(self.pose)

    def rows(self) -> Rows:
        """The rows of each image."""
        return Rows(self.images)

    def bodies(self, rows: list[int], crop: np.ndarray) -> BodyEstimate:
        """The rows as if they had been estimated in an image. crop: (3,) or (n, 3) px of that image."""
        pose, crops = self.pose[rows], np.broadcast_to(crop, (len(rows), 3)).copy()
        return BodyEstimate(pose[:, :3], pose[:, 3:], self.betas[rows], self.camera[rows], crops)


def load_poses(spec: PosesSpec) -> GivenPoses:
    """The poses of the file. UserError where it is missing or laid out otherwise, with the key and what is wanted."""
    path = at_home(spec.path)
    if not path.is_file():
        raise UserError(f"poses.path: no such file: {spec.path}; give an .npz or a .json of EFT fits")
    given = _eft(path) if path.suffix == ".json" else _npz(path)
    if not len(given):
        raise UserError(f"poses.path: {path} holds no pose")
    for name in SHAPES:
        if getattr(given, name) is not None and not np.isfinite(getattr(given, name)).all():
            raise UserError(f"poses.path: {path}: {name} is not finite everywhere")
    return given


def require_poses(spec: PosesSpec, images: list[str]) -> str:
    """A sentence that says how many of the images have poses. UserError as `load_poses`, and where none of them has."""
    given = load_poses(spec)
    if not given.images:
        raise UserError(f"poses.path: {spec.path} does not say which image each pose is of: it lacks imgname (N,)")
    return matches("poses.path", spec.path, given.rows(), images)


def _npz(path: Path) -> GivenPoses:
    try:
        stored = arrays.npz(path, {**dict.fromkeys(SHAPES, arrays.NUMBERS), "imgname": arrays.TEXTS}, MOST)
    except Unreadable as error:
        raise UserError(f"poses.path: {path} is no plain .npz ({error})") from None
    missing = [name for name in ("pose", "betas", "camera") if name not in stored]
    if missing:
        raise UserError(f"poses.path: {path} lacks {', '.join(missing)}; it needs pose, betas and camera")
    for name in SHAPES.keys() & stored.keys():  # complex numbers and dates would silently become floats
        if stored[name].dtype.kind not in "fiu":
            raise UserError(f"poses.path: {path}: {name} is of type {stored[name].dtype}, not of real numbers")
    count = len(np.atleast_1d(stored["pose"]))
    for name, shape in SHAPES.items():
        if name in stored and stored[name].shape != (count, *shape):
            raise UserError(f"poses.path: {path}: {name} is {stored[name].shape}, not {(count, *shape)}")
    images = image_names(stored["imgname"]) if "imgname" in stored else []
    if images and len(images) != count:
        raise UserError(f"poses.path: {path}: imgname has {len(images)} rows, pose has {count}")
    numbers = {name: np.asarray(stored[name], np.float32) if name in stored else None for name in SHAPES}
    return GivenPoses(**numbers, images=images)  # type: ignore[arg-type]  # only crop may be None


def _eft(path: Path) -> GivenPoses:
    """EFT's fits. EFT's code projects a point X to `s X + t` on the box, whose half side is 1 there, and from the box
    to the image (eft/utils/imutils.py: convert_smpl_to_bbox and convert_bbox_to_oriIm)."""
    from scipy.spatial.transform import (
        Rotation,
    )  # here, because it takes half a second and every plan imports this file

    try:
        kinds, images, rows = set[str](), list[str](), {name: list[np.ndarray]() for name in EFT}
        for fit in text.items(path, "data"):  # one at a time: the largest of EFT's files has 80,000 of them
            kinds.add(str(fit.get("smpltype", "smpl")).lower())
            images.append(str(fit["imageName"]))
            for name in EFT:
                rows[name].append(np.array(fit[name], np.float32))
        columns = {name: np.array(some, np.float32) for name, some in rows.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        expected = f"data, a list of fits with imageName, {', '.join(EFT)}"
        raise UserError(f"poses.path: {path} is not as EFT's: {expected} ({type(error).__name__}: {error})") from None
    if kinds - {"smpl"}:
        raise UserError(f"poses.path: {path} holds fits of {', '.join(sorted(kinds))}; only smpl fits the body here")
    for name, shape in EFT.items():
        if columns[name].shape != (len(images), *shape):
            raise UserError(f"poses.path: {path}: {name} is {columns[name].shape[1:]} in each fit, not {shape}")
    matrices = columns["parm_pose"].reshape(-1, 3, 3)
    try:
        pose = Rotation.from_matrix(matrices).as_rotvec().reshape(-1, 72) if images else matrices.reshape(0, 72)
    except ValueError as error:
        raise UserError(f"poses.path: {path}: parm_pose holds no rotation matrices ({error})") from None
    # EFT's camera maps X to s X + t, SPIN's to s (X + t).
    camera = columns["parm_cam"].copy()
    flat = np.flatnonzero(~(camera[:, 0] > 0))
    if len(flat):
        raise UserError(f"poses.path: {path}: parm_cam of fit {flat[0]} has no scale above 0 (its first number)")
    camera[:, 1:] /= camera[:, :1]
    crop = np.concatenate([columns["bbox_center"], EFT_UNIT * columns["bbox_scale"][:, None]], 1)
    return GivenPoses(pose.astype(np.float32), columns["parm_shape"], camera, crop, images)

"""BEDLAM-CLIFF: an .npz of rows for its SMPL-X and its SMPL loader, and an image folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.export import contract
from factory.export.base import Table
from factory.export.contract import Field
from factory.export.people import J24, OPENPOSE, PX, People

KEPT = 0.8  # of the rows, the first: what BEDLAM trains on


class Bedlam(Table):
    """gtkps are SMPL's own 24 joints, in its order, which a sample does not hold: they are posed anew from the job's
    body model. `gender` is left out: the loader takes its absence for neutral, and any text but 'm' for female.
    """

    name, trainer = "bedlam", "BEDLAM-CLIFF"
    fields = (
        Field("imgname", (), "image names below the image folder", "U"),
        Field("scale", (), "the box's side in px / 200", checks=(contract.box_over_200,)),
        Field("center", (2,), "the box's centre in px", checks=(contract.pixels,)),
        Field("pose_cam", ((66, 165),), "axis-angles in radians, camera frame", checks=(contract.axis_angle,)),
        Field("shape", ((10, 11),), "betas", checks=(contract.shape_space,)),
        Field(
            "betas",
            ((10, 11),),
            "betas again: the SMPL loader reads shape only if this key is there",
            checks=(contract.shape_space,),
        ),
        Field(
            "gtkps",
            ((24, 1000), 3),
            "2D joints in px and confidence, SMPL's 24 first",
            checks=(*contract.JOINTS2D, contract.smpl_order),
        ),
        Field("cam_int", (3, 3), "the camera of the whole image in px", checks=(contract.intrinsics,)),
        Field("trans_cam", (3,), "m", must=False),
        Field("cam_ext", (4, 4), "m", must=False),
        Field(
            "openpose",
            (25, 3),
            "2D joints in px and confidence",
            must=False,
            checks=(contract.pixels, contract.openpose_order),
        ),
        Field("part", (24, 3), "2D joints in px and confidence", must=False, checks=(contract.pixels,)),
        Field("gender", (), "'m' or 'f'", "U", must=False),
    )

    def check(self) -> None:
        try:
            self.skeleton  # noqa: B018
        except UserError as error:
            raise UserError(f"--format bedlam needs the body that the data set was made with: {error}") from None

    @cached_property
    def skeleton(self):
        from factory.export.skeleton import Skeleton

        return Skeleton(self.source.job.body.model)

    def columns(self, people: People, images: np.ndarray) -> dict[str, np.ndarray]:
        return {
            **shared(people, images),
            "betas": people.betas,
            "gtkps": self.skeleton.joints2d(people),
            "openpose": people.joints2d[:, OPENPOSE],  # of these two the SMPL loader makes its 2D loss
            "part": people.joints2d[:, J24],
        }

    def guide(self, splits: Mapping[str, tuple[int, int]]) -> str:
        names = [f"{self.dataset}-{split}" for split in splits]
        return f"""In BEDLAM's `train/core/config.py`, for each of {", ".join(names)}:

    DATASET_FOLDERS[name] = "{self.target.name}"            # this folder
    DATASET_FILES[1][name] = "{self.target.name}/" + name + ".npz"

BEDLAM trains on the first {KEPT:.0%} of the rows (CROP_PERCENT) and leaves the rest alone; the rows are
shuffled, so any share will do. A body is SMPL(pose_cam, shape, transl=trans_cam) + cam_ext[:3, 3], its camera cam_int.
`gtkps` are SMPL's own 24 joints: for CameraHMR, which reads another order under the same name, export anew.
`camera` is the weak-perspective (s, tx, ty) on the square box of `center` and `scale`.
"""

    @classmethod
    def more(cls, folder: Path, path: Path, arrays: Mapping[str, Any], modules: set[str]) -> Iterator[str]:
        yield from super().more(folder, path, arrays, modules)
        yield from underscore(path)


def shared(people: People, images: np.ndarray) -> dict[str, np.ndarray]:
    """The columns that CameraHMR reads in the same way."""
    # The loader adds trans_cam to cam_ext in place, once more in every epoch. So the translation is all in
    # cam_ext, and what is added is nothing.
    ext = np.tile(np.eye(4, dtype=np.float32), (len(images), 1, 1))
    ext[:, :3, 3] = people.transl
    return {
        "imgname": images,
        "scale": people.loose / np.float32(PX),
        "center": people.center,
        "pose_cam": people.pose,
        "shape": people.betas,
        "cam_int": people.K,
        "cam_ext": ext,
        "trans_cam": np.zeros_like(people.transl),
        "camera": people.camera(people.loose),
    }


def underscore(path: Path) -> Iterator[str]:
    if "_" in path.stem:
        yield "name: holds '_', at which the trainer splits its list of data sets; use '-'"

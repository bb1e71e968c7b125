"""The format of CameraHMR: rows as for BEDLAM, but gtkps hold OpenPose-25 and then the first 19 of J24."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from factory.export import agree, contract
from factory.export.base import Table
from factory.export.bedlam import first_of, misleading, registered, shared, translation
from factory.export.contract import Field
from factory.export.people import PeopleRows
from factory.geometry.joints import OPENPOSE_OF_SMPL, SMPL_OF_SPIN49, TWINS


class CameraHmr(Table):
    name, trainer, turned = "camerahmr", "CameraHMR", ("closeup", "portrait")
    fields = (
        Field("imgname", (), "image names below the image folder", "U"),
        Field("scale", (), "the box's side in px / 200", checks=(contract.box_over_200,)),
        Field("center", (2,), "the box's centre in px", checks=(contract.pixels,)),
        Field(
            "pose_cam",
            ((72, 165),),
            "axis-angles in radians: there is no has_smpl, without it every label is a zero pose",
            checks=(contract.axis_angle,),
        ),
        Field("shape", ((10, 11),), "betas", checks=(contract.shape_space,)),
        Field("cam_int", (3, 3), "the camera of the whole image in px", checks=(contract.intrinsics,)),
        Field(
            "gtkps",
            ((44, 1000), 3),
            "2D joints in px and confidence, OpenPose-25 then 19",
            checks=(*contract.JOINTS2D, contract.openpose_order),
        ),
        Field("trans_cam", (3,), "m", must=False),
        Field("cam_ext", (4, 4), "m", must=False),
    )

    def columns(self, people: PeopleRows, images: np.ndarray) -> dict[str, np.ndarray]:
        return {
            **shared(people, images),
            "gtkps": people.joints2d[:, :44],  # OpenPose-25, then the first 19 of J24
        }

    def guide(self, splits: Mapping[str, tuple[int, int]]) -> str:
        return f"""At the end of CameraHMR's `core/configs/__init__.py`:

    ROOT = "/where/this/folder/is"
{registered(self, splits)}

and append `_{first_of(self, splits)}` to DATASETS_AND_RATIOS in
`core/configs_hydra/data/train.yaml`, then `python train.py data=train experiment=camerahmr exp_name=...`.

A body is SMPL(pose_cam, shape, transl=trans_cam) + cam_ext[:3, 3], its camera cam_int. `gtkps` are OpenPose-25 and then
19 joints: for BEDLAM, which reads another order under the same name, export anew.
`camera` is the weak-perspective (s, tx, ty) on the square box of `center` and `scale`.
"""

    @classmethod
    def more(cls, folder: Path, path: Path, arrays: Mapping[str, Any], modules: set[str]) -> Iterator[str]:
        yield from super().more(folder, path, arrays, modules)
        yield from misleading(path, cls)

    @classmethod
    def agree(cls, arrays: Mapping[str, Any]) -> Iterator[str]:
        gtkps = arrays["gtkps"][:, :44]
        yield from agree.boxes("center", *agree.square(arrays["center"], arrays["scale"]), "gtkps", gtkps)
        pairs = [(a, b) for a, b in TWINS if b < 19]
        yield from agree.twins("gtkps[:25]", gtkps, "gtkps[25:]", gtkps[:, 25:], pairs)
        yield from agree.pose2d("pose_cam", arrays["pose_cam"], "gtkps", gtkps, SMPL_OF_SPIN49[:44])
        yield from agree.distance(*translation(arrays), arrays["cam_int"], "gtkps", gtkps, OPENPOSE_OF_SMPL)

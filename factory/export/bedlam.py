"""The format of BEDLAM-CLIFF: an .npz of rows, one per person, for its SMPL-X loader and its SMPL loader, and a folder
of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from factory.errors import UserError
from factory.export import agree, contract
from factory.export.base import Table
from factory.export.contract import Field
from factory.export.people import PX, PeopleRows
from factory.geometry.camera import project
from factory.geometry.joints import J24_PART, OPENPOSE_PART, SMPL24, SMPL_OF_SPIN49, TWINS

if TYPE_CHECKING:
    from factory.geometry.body import BodyModel

HANDS = slice(22, 24)  # of SMPL's joints
SMPL_OF_GTKPS = (*range(22), None, None)  # None: SMPL-X has another joint there
OFF = 0.01  # m: more than rounding moves a joint, less than another body does
KEPT = 0.8  # of the rows, the first: what BEDLAM trains on


class Bedlam(Table):
    """gtkps are SMPL's own 24 joints in SMPL's order. Samples do not hold them, so they are computed from the pose with
    the job's body model. The last two are the hands in SMPL, but the jaw and the left eye in SMPL-X: their confidence
    is 0.

    `gender` is left out: the loader takes a missing gender for neutral, and any text but 'm' for female.
    """

    name, trainer, turned = "bedlam", "BEDLAM-CLIFF", ("closeup",)
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
        Field("gender", (), "'m' or 'f'", "U", must=False, checks=(contract.gender,)),
    )

    def check(self) -> None:
        super().check()
        try:
            self.body  # noqa: B018
        except UserError as error:
            raise UserError(f"--format bedlam needs the body that the data set was made with: {error}") from None

    @cached_property
    def body(self) -> BodyModel:
        from factory.geometry.body import BodyModel

        return BodyModel(self.source.job.body.model)

    def columns(self, people: PeopleRows, images: np.ndarray) -> dict[str, np.ndarray]:
        gtkps = smpl_joints2d(people, self.body, self.source.job.body.model)
        gtkps[:, HANDS, 2] = 0
        return {
            **shared(people, images),
            "betas": people.betas,
            "gtkps": gtkps,
            "openpose": people.joints2d[:, OPENPOSE_PART],  # of these two the SMPL loader makes its 2D loss
            "part": people.joints2d[:, J24_PART],
        }

    def guide(self, splits: Mapping[str, tuple[int, int]]) -> str:
        return f"""At the end of BEDLAM's `train/core/config.py`:

    ROOT = "/where/this/folder/is"
{registered(self, splits)}

and append `_{first_of(self, splits)}` to DATASETS_AND_RATIOS of the config that you train with:
`configs/bedlam_cliff.yaml` (`python train.py --cfg configs/bedlam_cliff.yaml`: SMPL-X, BEDLAM's main one) or
`configs/orig_cliff.yaml` (`python train_smpl.py --cfg configs/orig_cliff.yaml`: SMPL; there the names come first and
then as many ratios: add one of each).

SMPL betas are no SMPL-X betas. `shape` and `betas` are those of the body model above; the SMPL-X trainer makes its
joints and vertices with them, and gets another body. Convert the bodies first where shape matters there; the SMPL
trainer takes them as they are.
`gtkps` are SMPL's own 24 joints, and the SMPL-X trainer compares them with the first 24 of SMPL-X. The last two are
hands in SMPL, jaw and left eye in SMPL-X: they have confidence 0. The SMPL trainer reads `openpose` and `part` instead.
For CameraHMR, which reads another order under the name `gtkps`, export anew.

BEDLAM trains on the first {KEPT:.0%} of the rows (CROP_PERCENT) and leaves the rest alone; the rows are shuffled, so
any share will do. A body is SMPL(pose_cam, shape, transl=trans_cam) + cam_ext[:3, 3], its camera cam_int.
`camera` is the weak-perspective (s, tx, ty) on the square box of `center` and `scale`.
"""

    @classmethod
    def more(cls, folder: Path, path: Path, arrays: Mapping[str, Any], modules: set[str]) -> Iterator[str]:
        yield from super().more(folder, path, arrays, modules)
        yield from misleading(path, cls)

    @classmethod
    def agree(cls, arrays: Mapping[str, Any]) -> Iterator[str]:
        gtkps = arrays["gtkps"][:, :24]
        yield from agree.rows("shape", arrays["shape"][:, :10], "betas", arrays["betas"][:, :10], 1e-3)
        yield from agree.boxes("center", *agree.square(arrays["center"], arrays["scale"]), "gtkps", gtkps)
        yield from agree.pose2d("pose_cam", arrays["pose_cam"], "gtkps", gtkps, SMPL_OF_GTKPS)
        yield from agree.distance(*translation(arrays), arrays["cam_int"], "gtkps", gtkps, range(24))
        if "openpose" in arrays:
            pairs = [(joint, j) for j, joint in enumerate(SMPL_OF_SPIN49[:25]) if joint is not None]
            yield from agree.twins("gtkps", gtkps, "openpose", arrays["openpose"], pairs)
            if "part" in arrays:
                yield from agree.twins("openpose", arrays["openpose"], "part", arrays["part"], TWINS)


def smpl_joints2d(people: PeopleRows, body: BodyModel, model: str) -> np.ndarray:
    """(M, 24, 3) float32 px and confidence, 1 inside the image: SMPL's own joints, posed anew. model: for messages.

    UserError where the body is not the one that the samples were made with.
    """
    import torch

    from factory.geometry.rotations import axis_angle_to_matrix

    with torch.inference_mode():
        rotations = axis_angle_to_matrix(torch.from_numpy(people.pose).view(-1, len(SMPL24), 3))
        joints = body.skeleton(rotations, torch.from_numpy(people.betas)).numpy() + people.transl[:, None]
    own = {j: joint for j, joint in enumerate(SMPL_OF_SPIN49) if joint is not None}
    stored = people.joints3d[:, list(own), :3]
    if len(joints) and np.abs(joints[:, list(own.values())] - stored).max() > OFF:
        raise UserError(f"body.model: {model} is not the body that the samples' joints belong to")
    pixels = project(joints, people.K)
    inside = ((pixels >= 0) & (pixels < people.size[:, None])).all(-1, keepdims=True)
    return np.concatenate([pixels, inside], -1).astype(np.float32)


def shared(people: PeopleRows, images: np.ndarray) -> dict[str, np.ndarray]:
    """Column -> values, of the columns that BEDLAM and CameraHMR read in the same way."""
    # The loaders add trans_cam to cam_ext in place, again in every epoch. So the whole translation is in cam_ext, and
    # trans_cam is zero.
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


def translation(arrays: Mapping[str, Any]) -> tuple[str, np.ndarray]:
    """(name of the fields that hold it, (M, 3) m): the body's translation in the camera's frame."""
    there = [arrays["trans_cam"]] if "trans_cam" in arrays else []
    there += [arrays["cam_ext"][:, :3, 3]] if "cam_ext" in arrays else []
    return "trans_cam + cam_ext", np.sum(there, axis=0) if there else np.zeros((0, 3))


def registered(form: Table, splits: Mapping[str, tuple[int, int]]) -> str:
    """Lines of Python that add each split to BEDLAM's or CameraHMR's config."""
    names = (f"{form.dataset}-{split}" for split in splits)
    return "\n".join(
        f"""    DATASET_FOLDERS["{name}"] = ROOT
    DATASET_FILES[1]["{name}"] = ROOT + "/{name}.npz\""""
        for name in names
    )


def first_of(form: Table, splits: Mapping[str, tuple[int, int]]) -> str:
    """Name under which the trainer knows the split to train on: train, or the first one."""
    return f"{form.dataset}-{'train' if 'train' in splits else next(iter(splits))}"


def misleading(path: Path, form: type[Table]) -> Iterator[str]:
    """What is wrong with a table's file name: the trainer knows the data set by it."""
    if "_" in path.stem:
        yield "name: holds '_', at which the trainer splits its list of data sets; use '-'"
    for word in form.turned:
        if word in path.stem:
            yield f"name: holds {word!r}: the trainer turns such images by 90 degrees, but not the labels; rename it"

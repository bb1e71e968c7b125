"""The format of MMHuman3D: a HumanData .npz, and images in the folder where its HumanImageDataset looks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from factory.export import agree, archive, contract
from factory.export.base import Table, images_there
from factory.export.contract import Field
from factory.export.people import PeopleRows
from factory.export.pickles import Stream
from factory.geometry.crops import LOOSE
from factory.geometry.joints import FLIP49, HUMANDATA_OF_OPENPOSE, HUMANDATA_OF_SPIN49, HUMANDATA_SIZE, SMPL_OF_SPIN49

SPIN49_ROWS = list(HUMANDATA_OF_SPIN49)
PARAMETERS = (
    Field("body_pose", (23, 3), "axis-angles in radians", checks=(contract.axis_angle,)),
    Field("global_orient", (3,), "axis-angles in radians", checks=(contract.axis_angle,)),
    Field("betas", (10,), "betas", checks=(contract.shape_space,)),
    Field("transl", (3,), "m", must=False),
)


class HumanData(Table):
    """A column named a.b becomes the entry b of a dict a: HumanData keeps smpl, meta and misc as pickled dicts. The
    loader reads keypoints2d and keypoints3d, where HumanData's documentation names keypoints2d_smpl and
    keypoints3d_smpl.
    """

    name, trainer = "humandata", "MMHuman3D"
    objects = True
    fields = (
        Field("image_path", (), "image paths below datasets/<name>", "U"),
        Field(
            "bbox_xywh",
            ((4, 5),),
            "x, y, width, height in px and confidence; without it the scale is 0",
            checks=(contract.box_of_pixels,),
        ),
        Field("keypoints2d", (HUMANDATA_SIZE, 3), "2D joints in px and confidence", checks=contract.JOINTS2D),
        Field(
            "keypoints3d",
            (HUMANDATA_SIZE, 4),
            "3D joints in m and confidence",
            must=False,
            checks=(contract.confidence,),
        ),
        Field("has_smpl", (), "0 or 1", "fiub", must=False, checks=(contract.flag,)),
    )

    def images(self) -> str:
        return f"datasets/{self.dataset}"

    def table(self, split: str) -> str:
        return f"preprocessed_datasets/{self.dataset}-{split}.npz"

    def columns(self, people: PeopleRows, images: np.ndarray) -> dict[str, np.ndarray]:
        sides = LOOSE * people.sides
        box = np.concatenate([people.center - sides / 2, sides, people.detection_score[:, None]], 1)
        return {
            "image_path": images,
            "bbox_xywh": box.astype(np.float32),
            "keypoints2d": spread(people.joints2d),
            "keypoints3d": spread(people.joints3d),
            "has_smpl": np.ones(len(images), np.int64),
            "smpl.body_pose": people.pose[:, 3:].reshape(-1, 23, 3),
            "smpl.global_orient": people.pose[:, :3],
            "smpl.betas": people.betas,
            "smpl.transl": people.transl,
            "meta.height": people.size[:, 1],
            "meta.width": people.size[:, 0],
            "misc.K": people.K,
            "misc.camera": people.camera(sides.max(1)),
        }

    def members(
        self, rows: Mapping[str, tuple[tuple[int, ...], np.dtype, Iterable[bytes]]]
    ) -> dict[str, Iterable[bytes]]:
        mask = np.zeros(HUMANDATA_SIZE, np.uint8)
        mask[[*HUMANDATA_OF_SPIN49, *HUMANDATA_OF_OPENPOSE.values()]] = 1
        count = rows["image_path"][0][0]
        members: dict[str, Iterable[bytes]] = {
            "keypoints2d_mask": archive.array(mask),
            "keypoints3d_mask": archive.array(mask),
            "__keypoints_compressed__": archive.array(np.array(False)),
            "__temporal_len__": archive.array(np.array(count)),
            "__key_strict__": archive.array(np.array(False)),
        }
        dicts: dict[str, dict[str, Stream]] = {}
        for name, column in rows.items():
            outer, dot, inner = name.partition(".")
            if dot:
                dicts.setdefault(outer, {})[inner] = Stream(*column)
            else:
                members[name] = archive.column(*column)
        return members | {name: archive.plain(entries) for name, entries in dicts.items()}

    def guide(self, splits: Mapping[str, tuple[int, int]]) -> str:
        first = "train" if "train" in splits else next(iter(splits))
        return f"""In MMHuman3D's config (this folder is the `data_prefix`):

    dict(type="HumanImageDataset", data_prefix="{self.target.name}", dataset_name="{self.dataset}",
         ann_file="{self.dataset}-{first}.npz", convention="smpl_49", ...)

Boxes are {LOOSE} times the body's. `misc` holds `K`, the camera of the whole image, and `camera`, the weak-perspective
(s, tx, ty) on the square box; `smpl.transl` is in metres before K.
"""

    @classmethod
    def is_table(cls, name: str) -> bool:
        return super().is_table(name) and not name.startswith("datasets/")

    @classmethod
    def arrays(cls, table: archive.Npz) -> dict[str, Any]:
        extra = ("smpl", "meta", "keypoints2d_mask", "keypoints3d_mask", "__keypoints_compressed__")
        return super().arrays(table) | {name: table[name] for name in extra if name in table}

    @classmethod
    def more(cls, folder: Path, path: Path, arrays: Mapping[str, Any], modules: set[str]) -> Iterator[str]:
        names = arrays.get("image_path", np.empty(0))
        roots = [folder, *sorted((folder / "datasets").glob("*/"))]
        first = str(names[0]) if np.ndim(names) and len(names) else ""
        yield from images_there(max(roots, key=lambda root: (root / first).is_file()), names, "image_path")
        yield from numpy1(modules)
        if "__keypoints_compressed__" not in arrays:
            yield "__keypoints_compressed__: missing; it must say whether masked joints are left out"
        for name in ("keypoints2d", "keypoints3d"):
            mask = arrays.get(f"{name}_mask")
            if name in arrays and (mask is None or np.shape(mask) != (HUMANDATA_SIZE,)):
                yield f"{name}_mask: {'missing' if mask is None else np.shape(mask)}; it must be ({HUMANDATA_SIZE},)"
        smpl = arrays.get("smpl")
        if not isinstance(smpl, dict):
            yield "smpl: missing; it must be a dict of body_pose, global_orient and betas"
        else:
            yield from (f"smpl.{problem}" for problem in contract.problems(PARAMETERS, smpl))
        if "keypoints3d" in arrays and np.shape(arrays.get("keypoints3d_mask", ())) == (HUMANDATA_SIZE,):
            known = arrays["keypoints3d"][:, arrays["keypoints3d_mask"] > 0]
            if known.ndim == 3 and known.size and (problem := contract.metres(known)):
                yield f"keypoints3d: {problem}"
        meta = arrays.get("meta")
        if not isinstance(meta, dict) or not {"height", "width"} <= meta.keys():
            yield "meta: must be a dict of height and width"

    @classmethod
    def agree(cls, arrays: Mapping[str, Any]) -> Iterator[str]:
        box, joints, smpl = arrays["bbox_xywh"], arrays["keypoints2d"][:, SPIN49_ROWS], arrays.get("smpl")
        yield from agree.corners("bbox_xywh", box, "keypoints2d", joints)
        yield from agree.boxes("bbox_xywh", box[:, :2] + box[:, 2:4] / 2, box[:, 2:4].max(1), "keypoints2d", joints)
        if "keypoints3d" in arrays:
            yield from agree.joints3d2d(
                "keypoints3d", arrays["keypoints3d"][:, SPIN49_ROWS], "keypoints2d", joints, FLIP49
            )
        if not isinstance(smpl, dict) or any(contract.problems(PARAMETERS, smpl)) or len(smpl["betas"]) != len(box):
            return
        pose = np.concatenate([smpl["global_orient"][:, None], smpl["body_pose"]], 1).reshape(len(box), -1)
        posed = np.flatnonzero(arrays.get("has_smpl", np.ones(len(box))))
        yield from agree.pose2d("smpl", pose[posed], "keypoints2d", joints[posed], SMPL_OF_SPIN49)


def spread(joints: np.ndarray) -> np.ndarray:
    """(M, 49, c) in SPIN-49 order -> (M, 190, c) in HumanData's, zero where SPIN-49 has none."""
    out = np.zeros((len(joints), HUMANDATA_SIZE, joints.shape[2]), joints.dtype)
    out[:, SPIN49_ROWS] = joints
    out[:, list(HUMANDATA_OF_OPENPOSE.values())] = joints[:, list(HUMANDATA_OF_OPENPOSE)]
    return out


def numpy1(modules: set[str]) -> Iterator[str]:
    """Yield what is wrong when pickles name modules that only numpy 2 has: trainers pin numpy 1."""
    new = sorted(module for module in modules if module.startswith("numpy._core"))
    if new:
        yield f"pickle: names {new[0]}, which numpy 1 has not, and the trainer pins numpy 1; write it under numpy 1"

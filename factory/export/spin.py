"""The format of SPIN, DAPA and trainers derived from them: an .npz of rows, one per person, a folder of images, and the
file of static fits that SPIN opens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from factory.export import agree, archive, contract
from factory.export.base import SPLIT, Table
from factory.export.contract import Field
from factory.export.people import PX, PeopleRows
from factory.geometry.joints import FLIP_J24, J24_PART, OPENPOSE_PART, SMPL_OF_SPIN49, TWINS
from factory.untrusted.arrays import header, start

OTHER = 0.1  # rad, or of a shape coefficient: a fit that is so far off is another's


class Spin(Table):
    """`gender` is left out: the loader takes a missing gender for neutral, and any text but 'm' for female."""

    name, trainer = "spin", "SPIN or DAPA"
    fields = (
        Field("imgname", (), "image names below the image folder", "U"),
        Field("scale", (), "the crop's side in px / 200", checks=(contract.box_over_200,)),
        Field("center", (2,), "the crop's centre in px", checks=(contract.pixels,)),
        Field("pose", (72,), "axis-angles in radians", must=False, checks=(contract.axis_angle,)),
        Field("shape", (10,), "betas", must=False, checks=(contract.shape_space,)),
        Field("has_smpl", (), "0 or 1", "fiub", must=False, checks=(contract.flag,)),
        Field("S", (24, 4), "3D joints in m and confidence", must=False, checks=contract.JOINTS3D),
        Field("part", (24, 3), "2D joints in px and confidence", must=False, checks=contract.JOINTS2D),
        Field(
            "openpose",
            (25, 3),
            "2D joints in px and confidence",
            must=False,
            checks=(*contract.JOINTS2D, contract.openpose_order),
        ),
        Field("gender", (), "'m' or 'f'", "U", must=False, checks=(contract.gender,)),
    )

    def columns(self, people: PeopleRows, images: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "imgname": images,
            "scale": people.spin_side / PX,
            "center": people.center,
            "pose": people.pose,
            "shape": people.betas,
            "has_smpl": np.ones(len(images), np.float32),
            "S": people.joints3d[:, J24_PART],
            "part": people.joints2d[:, J24_PART],
            "openpose": people.joints2d[:, OPENPOSE_PART],
            # beyond what SPIN reads: the cameras
            "camera": people.camera(people.spin_side),
            "cam_int": people.K,
            "trans_cam": people.transl,
        }

    def finish(self, split: str, steps: int) -> None:
        super().finish(split, steps)
        with archive.Npz(self.target / self.table(split)) as table:
            count = table.shape("pose")[0]
            fits = (
                np.concatenate([pose, betas], 1).tobytes()
                for pose, betas in zip(table.blocks("pose"), table.blocks("shape"), strict=True)
            )
            self.files.put(
                f"static_fits/{self.dataset}-{split}_fits.npy", archive.column((count, 82), np.dtype("f4"), fits)
            )

    def outputs(self) -> re.Pattern[str]:
        fits = rf"static_fits/{re.escape(self.dataset)}-{SPLIT}_fits\.npy"
        return re.compile(f"{super().outputs().pattern}|{fits}")

    def folders(self) -> re.Pattern[str]:
        return re.compile(f"{super().folders().pattern}|static_fits")

    def guide(self, splits: Mapping[str, tuple[int, int]]) -> str:
        files = "\n".join(
            f"""    DATASET_FOLDERS["{name}"] = ROOT
    DATASET_FILES[1]["{name}"] = ROOT + "/{name}.npz\""""
            for name in (f"{self.dataset}-{split}" for split in splits)
        )
        train = f"{self.dataset}-{'train' if 'train' in splits else next(iter(splits))}"
        return f"""SPIN's lists are in its code (no rotation, no flip was applied). At the end of `config.py`:

    ROOT = "/where/this/folder/is"
{files}

`STATIC_FITS_DIR`, also in `config.py`, is where `train/fits_dict.py` opens `<name>_fits.npy` (pose ++ betas) of every
data set in MixedDataset's `dataset_dict`. To train on this one alone, point it here; else copy the files of
`static_fits/` to the folder that it names:

    STATIC_FITS_DIR = ROOT + "/static_fits"

`datasets/mixed_dataset.py` lists the six data sets that train.py reads, and the share of each. To train on this one
alone, let these lines take the place of all in `MixedDataset.__init__`:

        self.dataset_list = ["{train}"]
        self.dataset_dict = {{"{train}": 0}}
        self.datasets = [BaseDataset(options, name, **kwargs) for name in self.dataset_list]
        self.length = len(self.datasets[0])
        self.partition = np.array([1.0])

and let `range(6)` in `__getitem__` be `range(len(self.datasets))`. For a mix, add the name to `dataset_list` and to
`dataset_dict` (as 6), let `length_itw` count `self.datasets[1:5]`, and add a share to `self.partition` before its
cumsum, so that all shares add up to 1.

Besides SPIN's own fields each row holds `camera`, the weak-perspective (s, tx, ty) on its crop, and `cam_int` and
`trans_cam`, the perspective camera of the whole image and the body's translation in metres.
"""

    @classmethod
    def more(cls, folder: Path, path: Path, arrays: Mapping[str, Any], modules: set[str]) -> Iterator[str]:
        yield from super().more(folder, path, arrays, modules)
        if "pose" in arrays and "shape" not in arrays:
            yield "shape: missing, though there is a pose: the loader then drops both"
        name = f"static_fits/{path.stem}_fits.npy"
        try:
            with open(folder / name, "rb") as file:
                begin = start(file)
                head = header(begin)
            if head.bytes != (folder / name).stat().st_size - len(begin):
                raise ValueError(f"not as long as {head.dtype} {head.shape} is")
            fits = np.memmap(folder / name, head.dtype, "r", len(begin), head.shape)
        except FileNotFoundError:
            yield f"{name}: missing; SPIN does not start without it: pose ++ betas, (N, 82)"
        except (ValueError, OSError) as error:
            yield f"{name}: unreadable ({error})"
        else:
            count = len(arrays["scale"]) if np.ndim(arrays.get("scale", 0)) else fits.shape[0] if fits.shape else 0
            if fits.shape != (count, 82) or fits.dtype.kind != "f":
                yield f"{name}: {fits.dtype} {fits.shape}, not float ({count}, 82)"
            elif [np.shape(arrays.get(name, ())) for name in ("pose", "shape")] == [(count, 72), (count, 10)]:
                yield from agree.rows("pose", arrays["pose"], name, fits[:, :72], OTHER)
                yield from agree.rows("shape", arrays["shape"], name, fits[:, 72:], OTHER)

    @classmethod
    def agree(cls, arrays: Mapping[str, Any]) -> Iterator[str]:
        count = len(arrays["scale"])
        openpose, part = arrays.get("openpose", np.zeros((count, 25, 3))), arrays.get("part", np.zeros((count, 24, 3)))
        joints = np.concatenate([openpose, part], 1)
        names = " and ".join(name for name in ("openpose", "part") if name in arrays)
        yield from agree.boxes("center", *agree.square(arrays["center"], arrays["scale"]), names, joints)
        yield from agree.twins("openpose", openpose, "part", part, TWINS)
        if "S" in arrays:
            yield from agree.joints3d2d("S", arrays["S"], "part", part, FLIP_J24)
        if "pose" in arrays:
            posed = np.flatnonzero(arrays.get("has_smpl", np.ones(count)))
            for name, joints, of in (("openpose", openpose, SMPL_OF_SPIN49[:25]), ("part", part, SMPL_OF_SPIN49[25:])):
                yield from agree.pose2d("pose", arrays["pose"][posed], name, joints[posed], of)

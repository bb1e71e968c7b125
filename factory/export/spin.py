"""SPIN, DAPA and their heirs: an .npz of rows, an image folder, and the static fits that SPIN opens beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from factory.export import archive, contract
from factory.export.base import Table
from factory.export.contract import Field
from factory.export.people import J24, OPENPOSE, PX, People


class Spin(Table):
    """`gender` is left out: the loader takes its absence for neutral, and any text but 'm' for female."""

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
        Field("gender", (), "'m' or 'f'", "U", must=False),
    )

    def columns(self, people: People, images: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "imgname": images,
            "scale": people.spin_side / PX,
            "center": people.center,
            "pose": people.pose,
            "shape": people.betas,
            "has_smpl": np.ones(len(images), np.float32),
            "S": people.joints3d[:, J24],
            "part": people.joints2d[:, J24],
            "openpose": people.joints2d[:, OPENPOSE],
            # beyond what SPIN reads: the cameras
            "camera": people.camera(people.spin_side),
            "cam_int": people.K,
            "trans_cam": people.transl,
        }

    def finish(self, split: str, pieces: int) -> None:
        super().finish(split, pieces)
        with archive.Npz(self.target / self.table(split)) as table:
            count = table.shape("pose")[0]
            fits = (
                np.concatenate([pose, betas], 1).tobytes()
                for pose, betas in zip(table.blocks("pose"), table.blocks("shape"), strict=True)
            )
            self.files.put(
                f"static_fits/{self.dataset}-{split}_fits.npy", archive.column((count, 82), np.dtype("f4"), fits)
            )

    def guide(self, splits: Mapping[str, tuple[int, int]]) -> str:
        names = [f"{self.dataset}-{split}" for split in splits]
        return f"""In SPIN's `config.py`, for each of {", ".join(names)} (no rotation, no flip was applied):

    DATASET_FOLDERS[name] = "{self.target.name}"            # this folder
    DATASET_FILES[1][name] = "{self.target.name}/" + name + ".npz"

and in `constants.py` let STATIC_FITS_DIR be `{self.target.name}/static_fits`, or copy its files there: SPIN opens
`<name>_fits.npy` (pose ++ betas) for every data set that it trains on.
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
            fits = np.load(folder / name, allow_pickle=False)
        except FileNotFoundError:
            yield f"{name}: missing; SPIN does not start without it: pose ++ betas, (N, 82)"
        except ValueError as error:
            yield f"{name}: unreadable ({error})"
        else:
            count = len(arrays["scale"]) if np.ndim(arrays.get("scale", 0)) else len(fits)
            if fits.shape != (count, 82) or fits.dtype.kind != "f":
                yield f"{name}: {fits.dtype} {fits.shape}, not float ({count}, 82)"

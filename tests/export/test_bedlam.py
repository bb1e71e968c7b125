"""BEDLAM and CameraHMR: one kind of .npz, two orders of joints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.export.run import export
from factory.geometry.body import BodyModel, spin49
from factory.weights.locate import resolve
from tests.support.command import fresh
from tests.support.exports import projected

pytestmark = pytest.mark.heavy(1)

# What BEDLAM's SMPL-X and SMPL loaders do with an .npz, in other words.
BEDLAM = """
import json
from pathlib import Path
import numpy as np
from PIL import Image

root, name = Path(sys.argv[1]), sys.argv[2]
assert "_" not in name  # lists of data sets are split there
data = np.load(root / f"{name}.npz", allow_pickle=True)
count = len(data["imgname"])
assert data["scale"].shape == (count,) and data["center"].shape == (count, 2)
pose = data["pose_cam"][:, : 22 * 3].astype(float)
betas = data["shape"].astype(float)
assert pose.shape == (count, 66) and betas.shape == (count, 10)
assert data["gtkps"][:, :24].shape == (count, 24, 3)
assert data["cam_int"].shape == (count, 3, 3) and data["cam_ext"].shape == (count, 4, 4)
# the SMPL loader: shape only counts if the key betas is there
assert "betas" in data and (data["betas"] == data["shape"]).all()
assert np.concatenate([data["openpose"], data["part"]], axis=1).shape == (count, 49, 3)
assert data["pose_cam"].astype(float).shape == (count, 72)
assert "gender" not in data
for index in range(count):
    assert float(data["scale"][index].copy()) * 200 >= 1
    with Image.open(root / data["imgname"][index]) as image:
        assert image.size == (64, 64)
# what __getitem__ makes of the translation, for two epochs over arrays that stay in memory
ext, trans = data["cam_ext"], data["trans_cam"]
epochs = []
for _ in range(2):
    translation = ext[:, :, 3]
    translation[:, :3] += trans
    epochs.append(translation.copy())
assert (epochs[0] == epochs[1]).all() and (epochs[0][:, 2] > 0).all() and (epochs[0][:, 3] == 1).all()
order = [str(name) for name in data["imgname"]]
print(json.dumps({"count": count, "order": order}))
"""

# What CameraHMR's DatasetTrain does, in other words.
CAMERAHMR = """
import json
from pathlib import Path
import numpy as np
from PIL import Image

root, name = Path(sys.argv[1]), sys.argv[2]
assert "_" not in name
data = np.load(root / f"{name}.npz", allow_pickle=True)
count = len(data["imgname"])
assert "pose_cam" in data  # without a pose every label is a zero pose, and nothing says so
pose = data["pose_cam"][:, : 24 * 3].astype(float)
assert pose.shape == (count, 72) and np.abs(pose).max() > 0
assert data["shape"].astype(float)[:, :10].shape == (count, 10)
assert data["cam_int"].shape == (count, 3, 3)
assert data["gtkps"][:, :44].shape == (count, 44, 3)
for index in range(count):
    scale, center = data["scale"][index].copy(), data["center"][index].copy()
    assert (scale * 200).max() >= 1 and center.shape == (2,)
    translation = data["cam_ext"][index][:, 3].copy()
    translation[:3] += data["trans_cam"][index]
    assert translation[2] > 0
    with Image.open(root / data["imgname"][index]) as image:
        assert image.size == (64, 64)
print(json.dumps({"count": count, "order": [str(name) for name in data["imgname"]]}))
"""


@pytest.mark.parametrize(("name", "program"), [("bedlam", BEDLAM), ("camerahmr", CAMERAHMR)])
def test_the_loader_reads_it(exported, labels, name: str, program: str) -> None:
    told = [fresh(program, exported(name), f"hard-poses-{split}") for split in ("train", "val")]
    assert sum(one["count"] for one in told) == sum(len(label["pose"]) for label in labels.values())
    order = [Path(name).stem for name in told[0]["order"]]
    assert set(order) | {Path(name).stem for name in told[1]["order"]} == set(labels)
    first = order[: int(0.8 * len(order))]  # what BEDLAM trains on: it must not be the first of the plan
    assert min(order) not in first or max(order) in first or first != sorted(first)
    assert order != sorted(order)


def posed(folder: Path) -> tuple[np.lib.npyio.NpzFile, torch.Tensor]:
    """The rows, and their 54 joints as the trainer computes them: SMPL, moved by cam_ext and trans_cam."""
    data = np.load(folder / "hard-poses-train.npz")
    body = BodyModel(resolve("starter:body"))
    pose, shape = (torch.from_numpy(data[name]) for name in ("pose_cam", "shape"))
    transl = torch.from_numpy(data["trans_cam"] + data["cam_ext"][:, :3, 3])
    with torch.inference_mode():
        return data, body(pose[:, :3], pose[:, 3:], shape, transl)[1]


def test_bedlams_gtkps_are_smpls_own_joints(exported) -> None:
    data, joints = posed(exported("bedlam"))
    pixels = projected(data["cam_int"], joints[:, :24].numpy())
    assert np.abs(pixels - data["gtkps"][..., :2]).max() < 0.5
    inside = ((pixels >= 0) & (pixels < 64)).all(-1)
    inside[:, 22:] = False  # hands here, jaw and left eye in SMPL-X
    assert (data["gtkps"][..., 2] == inside).mean() > 0.999 and 0 < inside.mean() < 1


def test_camerahmrs_gtkps_are_openpose_and_19(exported) -> None:
    data, joints = posed(exported("camerahmr"))
    pixels = projected(data["cam_int"], spin49(joints)[:, :44].numpy())
    assert np.abs(pixels - data["gtkps"][..., :2]).max() < 0.5


def test_bedlam_wants_the_body_of_the_data_set(dataset, tmp_path) -> None:
    out = tmp_path / "out"
    shutil.copytree(dataset, out)
    stored = json.loads((out / "job.json").read_text())
    stored["job"]["body"]["model"] = str(tmp_path / "SMPL.npz")
    (out / "job.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="needs the body .*SMPL.npz"):
        export(str(out), str(tmp_path / "to"), "bedlam")
    assert not (tmp_path / "to").exists()

from __future__ import annotations

import pickletools
import zipfile

import pytest

from tests.support.command import fresh

pytestmark = pytest.mark.heavy(1)

# What HumanData.fromfile and HumanImageDataset do with an .npz, in other words.
LOADER = """
import json
from pathlib import Path
import numpy as np
from PIL import Image

prefix, dataset, ann = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with np.load(prefix / "preprocessed_datasets" / ann, allow_pickle=True) as file:
    data = {}
    for key, value in dict(file).items():
        if isinstance(value, np.ndarray) and value.shape == ():
            value = value.item()
        elif key == "image_path":
            value = list(value)
        data[key] = value
assert data.pop("__keypoints_compressed__") is False
count = len(data["image_path"])
assert data["__temporal_len__"] == count
assert data["bbox_xywh"].shape == (count, 5)
for name, size in (("keypoints2d", 3), ("keypoints3d", 4)):
    assert data[name].shape == (count, 190, size) and data[name + "_mask"].shape == (190,)
    assert (data[name][:, data[name + "_mask"] == 0] == 0).all() and data[name + "_mask"].sum() == 53
assert "keypoints2d_smpl" not in data  # documented, and never read
smpl = data["smpl"]
assert type(smpl) is dict
shapes = {"body_pose": (count, 23, 3), "global_orient": (count, 3), "betas": (count, 10), "transl": (count, 3)}
assert {name: smpl[name].shape for name in smpl} == shapes
assert len(data["meta"]["height"]) == len(data["meta"]["width"]) == count and set(data["meta"]["height"]) == {64}
for index in range(count):
    x, y, w, h, s = data["bbox_xywh"][index]
    assert max(w, h) >= 1 and 0 < s <= 1  # without a box the scale is 0
    assert int(data["has_smpl"][index]) == 1
    assert not data["image_path"][index].startswith("/")
    with Image.open(prefix / "datasets" / dataset / data["image_path"][index]) as image:
        assert image.size == (64, 64)
print(json.dumps({"count": count, "images": len(set(data["image_path"]))}))
"""


def test_mmhuman3ds_loader_reads_it(exported, labels) -> None:
    told = [fresh(LOADER, exported("humandata"), "hard-poses", f"hard-poses-{split}.npz") for split in ("train", "val")]
    assert sum(one["images"] for one in told) == len(labels)
    assert sum(one["count"] for one in told) == sum(len(label["pose"]) for label in labels.values())


def test_its_objects_name_nothing_that_numpy_1_lacks(exported) -> None:
    with zipfile.ZipFile(exported("humandata") / "preprocessed_datasets" / "hard-poses-train.npz") as archive:
        for name in ("smpl", "meta", "misc"):
            data = archive.read(f"{name}.npy")
            opcodes = list(pickletools.genops(data[10 + int.from_bytes(data[8:10], "little") :]))
            assert {a.split()[0] for opcode, a, _ in opcodes if "GLOBAL" in opcode.name} <= {"numpy", "builtins"}

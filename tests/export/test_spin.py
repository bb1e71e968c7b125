from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.command import fresh

pytestmark = pytest.mark.heavy(1)

# What SPIN's BaseDataset and FitsDict do with an .npz, in other words.
LOADER = """
import json
from pathlib import Path
import numpy as np
from PIL import Image

root, name = Path(sys.argv[1]), sys.argv[2]
data = np.load(root / f"{name}.npz")  # no allow_pickle: an object array would raise when it is read
count = len(data["imgname"])
assert data["imgname"].dtype.kind == "U"
assert data["scale"].shape == (count,) and data["center"].shape == (count, 2)
pose, betas = data["pose"].astype(float), data["shape"].astype(float)
assert pose.shape == (count, 72) and betas.shape == (count, 10)
assert data["has_smpl"].shape == (count,) and (data["has_smpl"] == 1).all()
assert data["S"].shape == (count, 24, 4) and (data["S"][..., 3] == 1).all()
keypoints = np.concatenate([data["openpose"], data["part"]], axis=1)
assert keypoints.shape == (count, 49, 3)
assert "gender" not in data  # neutral; any text but 'm' would be female
for key in data:
    assert data[key].dtype.kind in "Ufi" and len(data[key]) == count, key
fits = np.load(root / "static_fits" / f"{name}_fits.npy")
assert fits.shape == (count, 82)
assert (fits[:, :72] == data["pose"]).all() and (fits[:, 72:] == data["shape"]).all()
for index in range(count):
    with Image.open(root / data["imgname"][index]) as image:
        assert image.size == (64, 64)
    scale, center = data["scale"][index].copy(), data["center"][index].copy()
    assert float(scale) * 200 >= 1 and (0 <= center).all() and (center <= 64).all()
print(json.dumps({"count": count, "images": len(set(data["imgname"]))}))
"""


def test_spins_loader_reads_it(exported, labels) -> None:
    told = [fresh(LOADER, exported("spin"), f"hard-poses-{split}") for split in ("train", "val")]
    assert sum(one["images"] for one in told) == len(labels)
    assert sum(one["count"] for one in told) == sum(len(label["pose"]) for label in labels.values())


def test_the_crop_is_three_torsos_and_never_less_than_the_body(exported) -> None:
    with np.load(exported("spin") / "hard-poses-train.npz") as data:
        part, scale, center = data["part"], data["scale"], data["center"]
        boxes = np.array([data["openpose"][..., :2], data["openpose"][..., :2]])
    torso = (
        np.linalg.norm(part[:, 8, :2] - part[:, 2, :2], axis=1)
        + np.linalg.norm(part[:, 9, :2] - part[:, 3, :2], axis=1)
    ) / 2
    side = 200 * scale
    assert (side >= 3 * torso - 1e-3).all()
    three = np.isclose(side, 3 * torso, rtol=1e-4)
    assert 0 < three.sum() < len(three)  # both rules decide somewhere
    inside = (np.abs(boxes[0].clip(0, 64) - center[:, None]) <= side[:, None, None] / 2 + 1e-3).all()
    assert inside


def test_readme_names_both_files(exported) -> None:
    text = Path(exported("spin") / "README.md").read_text()
    assert "hard-poses-train" in text and "static_fits" in text and "open-body" in text

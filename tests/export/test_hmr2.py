from __future__ import annotations

import io
import pickletools
import tarfile

import numpy as np
import pytest
import yaml

from factory.export.run import export
from factory.export.validate import validate
from factory.job import JobSpec
from factory.plan import plan
from tests.support import small
from tests.support.command import fresh
from tests.support.exports import people

pytestmark = pytest.mark.heavy(1)

# What 4D-Humans' ImageDataset does with a tar, in other words.
LOADER = """
import json, os
import numpy as np
import webdataset as wds

URLS = sys.argv[1:]
FIELDS = {
    "keypoints_2d": (44, 3), "keypoints_3d": (44, 4), "center": (2,), "scale": (2,), "body_pose": (72,),
    "betas": (10,), "has_body_pose": (), "has_betas": (),
}
data = wds.WebDataset(URLS, nodesplitter=wds.split_by_node, shardshuffle=False)
data = data.decode("rgb8").rename(jpg="jpg;jpeg;png")
keys, people, masked = [], 0, 0
for item in data:
    keys.append(item["__key__"])
    assert item["jpg"].shape == (64, 64, 3) and item["jpg"].dtype == np.uint8
    masks = item["detection.npz"]["masks"] if "detection.npz" in item else None
    assert type(item["data.pyd"]) is list and item["data.pyd"]
    for person in item["data.pyd"]:
        if masks is not None:
            mask = masks[person["extra_info"]["detection_npz_idx"]]
            assert mask.shape == item["jpg"].shape[:2] and mask.dtype == bool
            np.concatenate([item["jpg"], mask.astype(np.uint8)[:, :, None] * 255], axis=2)
            masked += mask.any()
        assert set(FIELDS) <= set(person)
        for name, shape in FIELDS.items():
            assert type(person[name]) is np.ndarray and person[name].shape == shape, name
            assert type(person[name].copy()) in (np.ndarray, np.float32), name
            assert person[name].dtype == np.float32, name
        kp2d, kp3d = person["keypoints_2d"], person["keypoints_3d"]
        assert (kp2d[:, 2] > 0).sum() > 4  # FILTER_NUM_KP
        assert kp3d[25 + 14, 3] > 0  # the loss subtracts it
        kp3d[:, :3] -= kp3d[[39], :3]  # in place: the arrays can be written to
        size = person["scale"] * 200  # px: it is divided already
        assert 1 <= size.min() and size.max() <= 1.2 * 64 + 1e-3
        assert person["scale"].min().item() * 200.0 > 0  # FILTER_MIN_BBOX_SIZE
        low, high = person["center"] - size / 2, person["center"] + size / 2
        seen = kp2d[kp2d[:, 2] > 0, :2]
        assert (seen >= low - 1e-3).all() and (seen <= high + 1e-3).all()
        # filter_reproj_error, poses_betas_simultaneous
        losses = person.get("extra_info", {}).get("fitting_loss", np.array({})).item()
        assert losses.get("reprojection_loss", None) is None
        assert np.array(float((person["has_body_pose"] > 0) and (person["has_betas"] > 0))) == 1
        people += 1
assert len(set(keys)) == len(keys)
print(json.dumps({"keys": keys, "people": people, "masked": int(masked)}))
"""


def test_hmr2s_loader_reads_it(exported, labels) -> None:
    told = {split: fresh(LOADER, *sorted((exported("hmr2") / f"hard-poses-{split}").glob("*.tar"))) for split in ("train", "val")}  # fmt: skip  # noqa: E501
    keys = [key for one in told.values() for key in one["keys"]]
    assert sorted(keys) == sorted(labels)
    assert sum(one["people"] for one in told.values()) == sum(len(label["pose"]) for label in labels.values())
    assert told["train"]["keys"] != sorted(told["train"]["keys"])  # shuffled
    assert told["train"]["masked"] == 0  # the data set holds no depth


def test_labels_are_the_data_sets(exported, labels) -> None:
    seen: dict[str, int] = {}
    for key, entry in people(exported("hmr2")):
        number = seen[key] = seen.get(key, -1) + 1
        label = {name: rows[number] for name, rows in labels[key].items()}
        np.testing.assert_array_equal(entry["body_pose"], label["pose"])
        np.testing.assert_array_equal(entry["betas"], label["betas"])
        np.testing.assert_array_equal(entry["keypoints_2d"], label["joints2d"][:44])
        np.testing.assert_array_equal(entry["keypoints_3d"], label["joints3d"][:44])
        np.testing.assert_allclose(entry["scale"] * 200, 1.2 * (label["bbox"][2:] - label["bbox"][:2]), rtol=1e-6)


def test_pickles_name_nothing_that_numpy_1_lacks(exported) -> None:
    with tarfile.open(exported("hmr2") / "hard-poses-train" / "000000.tar") as archive:
        stored = [archive.extractfile(info).read() for info in archive if info.name.endswith(".pyd")]  # type: ignore[union-attr]
    for data in stored:
        opcodes = list(pickletools.genops(io.BytesIO(data)))
        assert all(argument <= 4 for opcode, argument, _ in opcodes if opcode.name == "PROTO")
        assert {a for opcode, a, _ in opcodes if "GLOBAL" in opcode.name} == {"numpy ndarray", "builtins bytearray"}


def test_the_override_keeps_hard_poses_and_says_why(exported) -> None:
    folder = exported("hmr2")
    override = yaml.safe_load((folder / "override.yaml").read_text())
    assert override["DATASETS"]["SUPPRESS_BAD_POSES"] is False
    entries = yaml.safe_load((folder / "datasets_tar.yaml").read_text())
    assert override["defaults"] == [{"/data_filtering": "low1"}] and override["DATASETS"]["MOCAP"] == "CMU-MOCAP"
    assert set(override["DATASETS"]["TRAIN"]) == {"HARD-POSES-TRAIN"}
    assert set(override["DATASETS"]["VAL"]) == {"HARD-POSES-VAL"}  # --split has written one
    assert set(entries) == {"HARD-POSES-TRAIN", "HARD-POSES-VAL"}
    train = entries["HARD-POSES-TRAIN"]
    # not hmr2/..., which is a package of 4D-Humans, though the folder's own name is that here
    assert folder.name == "hmr2" and train["URLS"] == "hard-poses-hmr2/hard-poses-train/{000000..000000}.tar"
    assert train["TYPE"] == entries["HARD-POSES-VAL"]["TYPE"] == "ImageDataset"
    assert train["epoch_size"] == len(people(folder / "hard-poses-train"))
    assert "SUPPRESS_BAD_POSES" in (folder / "README.md").read_text()


def test_each_persons_mask_is_where_its_body_is_seen(values: dict, tmp_path) -> None:
    """Of two people who touch, and of one alone."""
    job = JobSpec.model_validate({**values, "records": 6, "image_size": 64, "sample": {"extras": ["depth"]}})
    small.make(job, rejected=(), two=(1, 2, 4))
    to = tmp_path / "to"
    export(job.output, str(to), "hmr2")
    told = fresh(LOADER, *sorted(to.rglob("*.tar")))
    assert told["masked"] == told["people"] == 9 and not list(validate(str(to), "hmr2"))
    with tarfile.open(to / "small-train" / "000000.tar") as archive:
        stored = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    wrong = total = 0
    for number in range(6):
        record = plan(job).record(number)
        small.fill(record, 64, 2 if number in (1, 2, 4) else 1)
        masks = np.load(io.BytesIO(stored[f"{record.key}.detection.npz"]))["masks"]
        alone = np.stack([small.pose(record, 64, float(person.transl[0]))[1] for person in record.people])
        seen = (alone > 0) & (alone == record.depth)
        assert masks.shape == seen.shape and (masks.any(0) == (record.depth > 0)).all()
        assert len(masks) > 1 or (masks == seen).all()
        wrong, total = wrong + (masks & ~seen).sum(), total + seen.sum()
    assert wrong < 0.05 * total  # where they touch

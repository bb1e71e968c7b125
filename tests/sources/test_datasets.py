"""SkiPose and SMART, on files in their real layout."""

import json

import h5py
import numpy as np
import pytest

from factory.errors import UserError
from factory.job import ImagesSpec
from factory.sources.images import listing
from factory.sources.smart import DIVING, JUMPS
from tests.support.real_layouts import athlete, make_ski, make_smart


@pytest.fixture
def ski(tmp_path):
    make_ski(tmp_path)
    return tmp_path


def test_skipose(ski):
    items = listing(ImagesSpec(kind="skipose", path=str(ski)), 0).items
    assert [item.name for item in items] == [
        f"train/seq_{i:03d}/cam_{2 + i:02d}/image_{100 + i:06d}.png" for i in range(3)
    ]
    assert {item.action for item in items} == {"alpine skiing"}
    np.testing.assert_allclose(items[0].window, [128, 120, 180])  # 1.2 x 150 px is more than 3 x 50
    assert len(listing(ImagesSpec(kind="skipose", path=str(ski), split="test"), 0)) == 1


def test_skipose_with_other_labels(ski):
    with h5py.File(ski / "train" / "labels.h5", "a") as file:
        del file["2D"]
    with pytest.raises(UserError, match=r"labels\.h5 is not Ski-PosePTZ's: .*2D"):
        listing(ImagesSpec(kind="skipose", path=str(ski)), 0)
    (ski / "train" / "labels.h5").write_bytes(b"no hdf5")
    with pytest.raises(UserError, match="labels.h5 is not"):
        listing(ImagesSpec(kind="skipose", path=str(ski)), 0)


@pytest.mark.parametrize("how", ["huge", "a chunk", "elsewhere", "a link", "a group", "texts", "nan", "beyond"])
def test_skipose_labels_that_only_pretend_to_be_so(ski, how):
    """What they say is told before it is allocated, and no other file is opened."""
    with h5py.File(ski / "train" / "labels.h5", "a") as file:
        poses = file["2D"][:]
        del file["2D"]
        if how == "huge":
            file.create_dataset("2D", (10**12, 34), "f4", chunks=(1024, 34))
        elif how == "a chunk":
            file.create_dataset("2D", (3, 34), "f4", chunks=(10**7, 34), maxshape=(None, 34), compression="gzip")
        elif how == "elsewhere":
            file.create_dataset("2D", (3, 34), "f8", external=[(str(ski / "secret"), 0, 3 * 34 * 8)])
        elif how == "a link":
            file["2D"] = h5py.ExternalLink(str(ski / "test" / "labels.h5"), "2D")
        elif how == "a group":
            file.create_group("2D")
        elif how == "texts":
            file["2D"] = np.full((3, 34), b"1")
        else:
            file["2D"] = np.full_like(poses, np.nan if how == "nan" else 1e300)
    with pytest.raises(UserError, match=r"labels\.h5 is not Ski-PosePTZ's: .*2D (is|lies|has) "):
        listing(ImagesSpec(kind="skipose", path=str(ski)), 0)


@pytest.fixture
def smart(tmp_path):
    make_smart(tmp_path)
    return tmp_path


def names(folder, split):
    items = listing(ImagesSpec(kind="smart", path=str(folder), split=split), 0).items
    return {action: [i.name for i in items if i.action == action] for action in {item.action for item in items}}


def test_smart_is_divided_by_clips(smart):
    train, test = names(smart, "train"), names(smart, "test")
    assert train["high jump"] == [f"images/tg{i}image{j}.jpg" for i in range(2) for j in range(2)]
    assert test["pole vault"] == ["images/cgt2image0.jpg", "images/cgt2image1.jpg"]
    assert [len(train[f"gymnastics on {what}"]) for what in ("uneven bars", "a balance beam")] == [3, 5]
    assert test["gymnastics on a balance beam"] == [f"images/204-{i}image0.jpg" for i in range(1, 4)]
    assert len(train["vault"]) == 4 and "vault" not in test
    everything = [name for half in (train, test) for some in half.values() for name in some]
    assert len(everything) == len(set(everything)) and not any("b0" in name for name in everything)


def test_of_dives_every_tenth_frame_counts_where_somebody_is_seen(smart):
    dives = names(smart, "train")["diving"]
    assert dives[:3] == ["images/dive0image0.jpg", "images/dive0image20.jpg", "images/dive1image0.jpg"]
    assert len(dives) == 30 and len(names(smart, "test")["diving"]) == 2


def test_smart_windows_hold_the_torso_thrice(smart):
    items = listing(ImagesSpec(kind="smart", path=str(smart)), 0).items
    np.testing.assert_allclose(items[0].window, [400, 300, 300])


def test_labels_without_their_images(smart, ski):
    """Told before anything is drawn: some are missing, or all."""
    (smart / "images" / "tg0image0.jpg").unlink()
    found = listing(ImagesSpec(kind="smart", path=str(smart)), 0)
    assert found.notes == [f"1 of {len(found)} images are not there, such as images/tg0image0.jpg"]
    assert found.left_out.lines() == ["15 frames without enough of a person, such as images/dive0image10.jpg"]
    for image in ski.rglob("*.png"):
        image.unlink()
    with pytest.raises(UserError, match="none of the 3 images is there, such as train/seq_000"):
        listing(ImagesSpec(kind="skipose", path=str(ski)), 0)


def test_smart_with_another_layout(smart):
    path = smart / "annotations" / JUMPS
    path.write_text(json.dumps([{"action_labels": "tg", "frames": [{"img_name": "a.jpg", "joints": [[1, 2, 0]]}]}]))
    with pytest.raises(UserError, match=f"{JUMPS} is not as SMART's: .*joints"):
        names(smart, "train")
    path.write_text(json.dumps([{"action_labels": "tg", "frames": [{"img_name": "../a.jpg", "joints": athlete()}]}]))
    with pytest.raises(UserError, match="plain file name"):
        names(smart, "train")
    path.unlink()
    with pytest.raises(UserError, match=f"{JUMPS} is missing"):
        names(smart, "train")


@pytest.mark.parametrize("text", ["[" * 200_000, "[1e999999", "[NaN]", "[" + "[]," * 20_000_001 + "[]]", "\udcff"])
def test_smart_annotations_that_would_break_the_reader(smart, text):
    (smart / "annotations" / DIVING).write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(UserError, match=f"{DIVING} cannot be read"):
        listing(ImagesSpec(kind="smart", path=str(smart)), 0)

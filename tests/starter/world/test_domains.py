"""Target domains: the images, laid out as the data sets that they stand for, and the truth of the held-out ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.geometry.joints import H36M17, J24
from factory.job import ImagesSpec
from factory.sources import images, skipose, smart
from factory.starter.world.domain_files import H36M17_IN_54, ROWS, SIGMAS, annotated, write_domain
from factory.starter.world.domains import DOMAINS
from tests.support.command import Run, refused

pytestmark = pytest.mark.heavy(14)
SMART, SKI = {"train": 1, "test": 6}, {"train": 3, "test": 2}


@pytest.fixture(scope="module")
def athletes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("domain") / "athletes"
    write_domain("smart-like", folder, **SMART, workers=1)
    return folder


@pytest.fixture(scope="module")
def skiers(tmp_path_factory) -> Path:
    pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("domain") / "skiers"
    write_domain("ski-like", folder, **SKI, workers=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> bytes, but arrays as arrays: a zip file tells the time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".npz":
            with np.load(path) as stored:
                found |= {f"{path.name}/{key}": stored[key].tobytes() for key in stored}
        elif path.is_file() and path.suffix != ".h5":
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_smart_s_reader_finds_each_image_for_training_and_for_testing(athletes):
    found = {split: smart.listing(ImagesSpec(kind="smart", path=str(athletes), split=split)) for split in SMART}
    for split, listing in found.items():
        assert {item.action for item in listing.items} == set(DOMAINS["smart-like"].actions)
        assert all((athletes / item.name).is_file() and split in item.name for item in listing.items)
        assert not listing.left_out
    assert len(found["train"].items) == 6 and len(found["test"].items) == 6
    assert len({item.name for item in found["train"].items}) == 6


def test_nothing_tells_the_3d_truth_of_an_image_for_training(athletes):
    assert not (athletes / ROWS).exists()
    with np.load(athletes / "test.npz") as stored:
        assert all(name.startswith("images/test-") for name in stored["imgname"])
    held = {path.relative_to(athletes).parts[0] for path in athletes.rglob("*") if path.is_file()}
    assert held == {"annotations", "images", "domain.json", "test.npz", "test.txt", "train.npz"}
    with np.load(athletes / "train.npz") as stored:
        assert set(stored) == {"imgname", "openpose", "part"} and len(stored["imgname"]) == 6
    assert len(images.listing(ImagesSpec(kind="list", path=str(athletes / "test.txt")), 0)) == 6


def test_truth_of_held_out_images_is_as_spin_s_and_true(athletes):
    """The annotations of the held-out images are exact: joints that SMART and test.npz share agree."""
    with np.load(athletes / "test.npz") as stored:
        test = {key: stored[key] for key in stored}
    assert test["pose"].shape == (6, 72) and test["shape"].shape == (6, 10) and test["S"].shape == (6, 24, 4)
    annotated = {}
    for file in (smart.DIVING, smart.JUMPS, smart.GYM):
        for clip in json.loads((athletes / "annotations" / file).read_text()):
            annotated |= {frame["img_name"]: np.array(frame["joints"]) for frame in clip["frames"]}
    for name, openpose, part, solid in zip(test["imgname"], test["openpose"], test["part"], test["S"], strict=True):
        assert annotated[Path(name).name][:, :2] == pytest.approx(openpose[:, :2], abs=0.02)
        ankles = [J24.index("right_ankle"), J24.index("left_ankle")]
        assert openpose[[11, 14], :2] == pytest.approx(part[ankles, :2], abs=1e-3)
        assert np.abs(solid[:, 2] - solid[:, 2].mean()).max() < 1.5  # one person, in metres


def test_keypoints_for_training_are_as_inexact_as_annotators(tmp_path):
    """Against COCO's own definition: sigma is the root of the mean squared distance over the area."""
    rng, area = np.random.default_rng(0), 900.0
    error = rng.standard_normal((20_000, 54, 2)).astype(np.float32) * np.sqrt(area / 2)
    row = {"pixels": np.zeros((54, 2), np.float32)}
    picked, names = H36M17_IN_54, H36M17
    moved = np.stack([annotated({**row, "error": each}, picked, names, False) for each in error[:4000]])
    sigma = np.sqrt((moved**2).sum(-1).mean(0) / area)
    assert sigma == pytest.approx([SIGMAS[name] for name in names], rel=0.05)


def test_ski_pose_s_reader_finds_images_and_joints(skiers):
    for split, count in SKI.items():
        listing = skipose.listing(ImagesSpec(kind="skipose", path=str(skiers), split=split))
        assert len(listing.items) == count and {item.action for item in listing.items} == set(
            DOMAINS["ski-like"].actions
        )
        for item in listing.items:
            assert Image.open(skiers / item.name).size == (skipose.SIDE, skipose.SIDE)
            assert item.window and item.window[2] > 60


def test_a_domain_goes_on_where_it_was_killed_and_does_nothing_twice(athletes, tmp_path):
    out = tmp_path / "killed"
    words = ("starter", "domain", "smart-like", str(out), "--train", "1", "--test", "6", "--workers", "1")
    process = subprocess.Popen([sys.executable, "-m", "factory.cli", *words], start_new_session=True)
    while process.poll() is None and len(list((out / ROWS).glob("*000.npz"))) < 3:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)  # the rendering processes too
    process.wait()
    kept = {
        path.name.split("0")[0]: (out / ROWS / path.name).stat().st_mtime_ns for path in (out / ROWS).glob("*0.npz")
    }
    drawn = {path: path.stat().st_mtime_ns for path in out.glob("images/*") if f"{path.stem.split('0')[0]}" in kept}
    assert len(drawn) >= 3
    assert write_domain("smart-like", out, **SMART, workers=1)
    assert contents(out) == contents(athletes)
    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn, "what was rendered is not rendered again"
    assert not write_domain("smart-like", out, **SMART)


def test_wrong_names_and_folders_are_refused_in_one_line(factory: Run, athletes, tmp_path):
    refused(factory("starter", "domain", "swimming", tmp_path / "x"), "smart-like, ski-like")
    refused(factory("starter", "domain", "smart-like", athletes, "--seed", 1), "holds another domain", "seed 0")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    refused(factory("starter", "domain", "smart-like", tmp_path / "full"), "holds no domain")
    refused(factory("starter", "domain", "smart-like", tmp_path / "y", "--test", 2), "at least 6 held-out images")
    assert not (tmp_path / "y").exists()

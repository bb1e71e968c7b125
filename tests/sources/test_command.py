"""The real command on strangers' images and labels: what it finds is told before anything is drawn."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.support.command import Run, needs_weights, refused


@pytest.fixture
def job(values: dict, tmp_path: Path) -> Path:
    """A job on three pictures, beside which lies what is no picture."""
    folder = tmp_path / "in"
    (folder / ".thumbnails").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c.jfif", "._a.jpg", ".thumbnails/a.jpg"):
        Image.new("RGB", (20, 20), "red").save(folder / name, "JPEG")
    (folder / "d.heic").touch()
    with open(os.fsencode(folder) + b"/caf\xe9.jpg", "wb"):
        pass
    arrays = {"pose": np.zeros((2, 72)), "betas": np.zeros((2, 10)), "camera": np.ones((2, 3))}
    np.savez(tmp_path / "poses.npz", imgname=np.array([b"in\\a", b"in\\b"]), **arrays)
    values |= {"records": 0, "prompts": {"template": ""}, "images": {"path": str(folder)}}
    return write(tmp_path, values | {"poses": {"path": str(tmp_path / "poses.npz")}})


def write(folder: Path, values: dict) -> Path:
    (folder / "real.yaml").write_text(yaml.safe_dump(values))
    return folder / "real.yaml"


def test_plan_tells_what_was_found_and_what_is_left_out(factory: Run, job: Path, tmp_path: Path) -> None:
    done = factory("plan", job)
    assert done.returncode == 0, done.stderr
    for words in (
        "3 found",
        f"2 of 3 images are named in {tmp_path / 'poses.npz'}",
        "left out: 2 hidden files and folders, such as .",
        "left out: 1 .heic pictures, which are not read (convert them to JPEG or PNG), such as d.heic",
        "left out: 1 files and folders whose names are not UTF-8 (rename them), such as caf\\udce9.jpg",
    ):
        assert words in done.stdout
    assert not (tmp_path / "out").exists()
    line = next(line for line in factory("doctor", job).stdout.splitlines() if "images.path" in line)
    assert line.startswith("ok") and "3 images; 2 of 3 images are named" in line and "left out: 1 .heic" in line


def test_poses_of_other_images_are_refused_before_anything_is_drawn(factory: Run, job: Path, tmp_path: Path) -> None:
    arrays = {"pose": np.zeros((1, 72)), "betas": np.zeros((1, 10)), "camera": np.ones((1, 3))}
    np.savez(tmp_path / "poses.npz", imgname=["x.jpg"], **arrays)
    refused(factory("run", job), "names none of the 3 images: it names x.jpg", "a.jpg")
    assert not (tmp_path / "out").exists()


@needs_weights
def test_a_run_that_could_use_nothing_does_not_end_with_0(factory: Run, job: Path, tmp_path: Path) -> None:
    """All three pictures are too small; neither the first run nor a second, which has nothing to do, calls it done."""
    for _ in range(2):
        done = factory("run", job, "--set", f"output={tmp_path / 'none'}")
        assert done.returncode == 1, done.stderr
        assert done.stdout.splitlines()[-1].startswith("Not one of 3 records could be used")
        assert "3 small image" in done.stdout and "Traceback" not in done.stderr
    state = json.loads(factory("status", tmp_path / "none", "--json").stdout)
    assert state["complete"] and state["states"] == {"rejected": 3}
    again = factory("run", job, "--set", f"output={tmp_path / 'none'}", "--set", "seed=4")
    refused(again, "seed: 0 there, 4 here")

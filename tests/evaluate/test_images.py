"""`factory evaluate images` on small data sets of drawn bodies; the real images are pictures of the same kind."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from factory.errors import UserError
from factory.evaluate.extractors import Extractor
from factory.evaluate.image_sets import FINAL, INITIAL, Samples, real_images
from factory.evaluate.images import HUMANS, WHOLE, compare
from factory.job import JobSpec
from tests.support import small
from tests.support.command import Run, needs_weights, refused

pytestmark = needs_weights
CPU = torch.device("cpu")


def spec(out: Path, **changes: object) -> JobSpec:
    stages = {
        "generate": {"model": "starter:text-to-image"},
        "estimate": {
            "hmr": {"model": "starter:hmr"}, "prior": {"model": "starter:vposer"},
            "detector": {"model": "starter:detector"}, "easy": "refine",
        },
        "refine": {"model": "starter:depth-to-image"},
    }  # fmt: skip
    values = {
        "name": out.name, "output": str(out), "records": 10, "image_size": 64, "unit_size": 10,
        "samples_per_shard": 10, "engine": "inline", "prompts": {"action": ["walking"]},
        "body": {"model": "starter:body", "name": "open-body"}, "stages": stages, "sample": {"extras": ["initial"]},
    }  # fmt: skip
    return JobSpec.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with two data sets, `first` (9 samples) and `plain` (9, without initial images), and `real`: the final
    images of the first, a text file among them."""
    folder = tmp_path_factory.mktemp("evaluate")
    small.make(spec(folder / "first"), two=())
    small.make(spec(folder / "plain", seed=7, sample={}), two=())
    (folder / "real" / "more").mkdir(parents=True)
    for i, entry in enumerate(Samples(str(folder / "first"), None)):
        Image.fromarray(entry[FINAL]).save(folder / "real" / ("more" if i % 2 else "") / f"{i}.png")
    (folder / "real" / "notes.txt").write_text("taken in May")
    return folder


@pytest.fixture
def colours() -> Extractor:
    """Features that need no network: the mean colour of each of 4 x 4 cells."""

    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1) / 255

    return Extractor("starter", "colours", 32, network, CPU)


def nobody(images: list[np.ndarray]) -> list[np.ndarray | None]:
    return [None] * len(images)


def as_json(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_compares_initial_and_final_of_several_data_sets(made, factory: Run):
    done = factory("evaluate", "images", made / "first", made / "plain", "--real", made / "real", "--humans")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    tables = [line for line in lines if line[:2] == ["data", "images"]]
    assert [line[4:] for line in tables] == [
        ["FD-starter", "KD-starter", "MMD-starter", "precision", "recall"],
        ["H-FD-starter", "H-KD-starter", "H-MMD-starter", "H-precision", "H-recall"],
    ]
    rows = [line for line in lines if "+-" in line and line[0] != "+-:"]
    assert len(rows) == 6
    for line, kind in zip(rows, ["initial", "final", "final"] * 2, strict=True):
        assert kind in line[:2]
    assert rows[1][3:6] == ["0.0000", "+-", "0.0000"]  # the real images are the first one's final ones
    assert "warning: below 2,000 images" in done.stdout and "the smallest set here has" in done.stdout
    assert f"note: {made}/plain holds no initial images" in done.stdout
    assert "files that are no pictures, such as notes.txt" in done.stdout
    assert "not Inception" in done.stdout and "clean-fid's" in done.stdout and "starter:detector" in done.stdout
    assert "FID" not in done.stdout  # which is Inception's alone
    assert "\x1b" not in done.stdout and done.stderr == ""


def test_json_says_how_and_how_sure(made, factory: Run):
    found = as_json(factory("evaluate", "images", made / "first", "--real", made / "real", "--json"))
    initial, final = found["rows"]
    assert (initial["images"], final["images"], final["extractor"]) == ("initial", "final", "starter")
    assert (final["n"], final["real_n"]) == (9, 9)
    figures = final["figures"]
    assert figures["FD-starter"]["value"] == pytest.approx(0, abs=1e-6)
    assert figures["precision"]["value"] == figures["recall"]["value"] == 1
    low, high = initial["figures"]["FD-starter"]["interval_95"]
    assert 0 < low < initial["figures"]["FD-starter"]["value"] < high
    assert "subset_std" in figures["KD-starter"]
    assert any("below 2,000 images" in line for line in found["warnings"])


def test_two_evaluations_are_equal_to_the_last_digit(made, factory: Run):
    arguments = ("evaluate", "images", made / "first", "--real", made / "plain", "--json", "--limit", 8)
    assert as_json(factory(*arguments)) == as_json(factory(*arguments))


def test_a_data_set_stands_for_real_images(made, colours):
    first = str(made / "first")
    found = compare([Samples(first, None)], real_images(first, None), [colours])
    assert found.rows[1].figures["FD-starter"].value == pytest.approx(0, abs=1e-9)


def test_limit_takes_as_many_of_each_set(made, colours):
    sets, real = (
        [Samples(str(made / "first"), 8), Samples(str(made / "plain"), None)],
        real_images(str(made / "real"), 8),
    )
    found = compare(sets, real, [colours])
    assert [(row.images, row.count, row.real_count) for row in found.rows] == [
        (INITIAL, 8, 8), (FINAL, 8, 8), (FINAL, 9, 8),
    ]  # fmt: skip
    assert any("the sets have 8 to 9 images; compare equal numbers with --limit 8" in line for line in found.warnings)


def test_humans_are_counted_by_image_kind(made, colours):
    """Where the cutter finds nobody, an image is left out of the figures of humans and stays in the others."""
    first = Samples(str(made / "first"), None)
    brightest = max(int(entry[FINAL][0, 0].sum()) for entry in first)

    def left_half(images: list[np.ndarray]) -> list[np.ndarray | None]:
        return [None if int(image[0, 0].sum()) == brightest else image[:, :32] for image in images]

    found = compare([first], real_images(str(made / "real"), None), [colours], cut=left_half)
    counts = {(row.images, row.region): (row.count, row.real_count) for row in found.rows}
    assert counts == {
        (INITIAL, WHOLE): (9, 9), (FINAL, WHOLE): (9, 9), (INITIAL, HUMANS): (9, 8), (FINAL, HUMANS): (8, 8),
    }  # fmt: skip
    names = {row.region: set(row.figures) for row in found.rows}
    assert names[HUMANS] == {f"H-{name}" for name in names[WHOLE]}


def test_no_people_for_the_detector(made, colours):
    real = real_images(str(made / "real"), None)
    with pytest.raises(UserError, match="real: 0 real images in which the detector finds a person; at least 8 are"):
        compare([Samples(str(made / "first"), None)], real, [colours], cut=nobody)


def test_broken_pictures_are_left_out_and_counted(made, colours, tmp_path):
    folder = tmp_path / "real"
    shutil.copytree(made / "real", folder)
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    Image.new("RGB", (20, 20)).save(folder / "tiny.png")
    Image.new("L", (200, 80), 9).save(folder / "oblong.png")
    found = compare([Samples(str(made / "first"), None)], real_images(str(folder), None), [colours])
    assert found.rows[0].real_count == 10
    notes = "\n".join(found.notes)
    assert "1 left out: broken image, such as cut.jpg" in notes and "such as tiny.png" in notes


BAD: list[tuple[str, Callable[[Path], list[object]]]] = [
    ("no data set", lambda made: ["empty", "--real", made / "real"]),
    ("no images of kind folder in", lambda made: [made / "first", "--real", "empty"]),
    ("no such folder: nowhere", lambda made: [made / "first", "--real", "nowhere"]),
    (
        "--device tpu: there are auto, cpu, cuda",
        lambda made: [made / "first", "--real", made / "real", "--device", "tpu"],
    ),
    (
        "9 images, less than a subset of 10; give a smaller --subset-size",
        lambda made: [made / "first", "--real", made / "real", "--subset-size", 10],
    ),
    ("4 images; at least 8 are needed", lambda made: [made / "first", "--real", made / "real", "--limit", 4]),
]


@pytest.mark.parametrize(("words", "arguments"), BAD)
def test_bad_input_is_refused_in_one_line(words, arguments, made, tmp_path, monkeypatch, factory: Run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    refused(factory("evaluate", "images", *arguments(made)), words)


def test_no_sample_is_ok(made, tmp_path):
    small.make(spec(tmp_path / "none", records=2, unit_size=2, samples_per_shard=2), rejected=(0, 1))
    with pytest.raises(UserError, match="no sample is ok, so there is nothing to compare; why: factory status"):
        Samples(str(tmp_path / "none"), None)

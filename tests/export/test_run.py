from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.errors import UserError
from factory.export import hmr2, split
from factory.export import run as runs
from factory.export.run import export
from factory.job import JobSpec
from tests.support import small
from tests.support.command import ROOT, Run
from tests.support.exports import SPLIT, people
from tests.support.files import export_tree
from tests.support.posed_stages import job


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PIECE", 50)
    monkeypatch.setattr(runs, "STEP", 10)
    monkeypatch.setattr(hmr2, "PIECE", 50)


@pytest.mark.heavy(8)
@pytest.mark.parametrize("name", ["hmr2", pytest.param("spin", marks=pytest.mark.slow)])
def test_killed_at_any_rename_it_goes_on_to_the_same_bytes(dataset: Path, tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "tests.export.kill_at_renames", str(dataset), str(tmp_path / "to"), name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_workers_write_the_same_bytes(dataset: Path, tmp_path: Path, small_pieces: None) -> None:
    seen: list[tuple[int, int]] = []
    for workers in (1, 2):
        to = tmp_path / str(workers) / "to"
        summary = export(str(dataset), str(to), "camerahmr", SPLIT, None, workers, lambda *now: seen.append(now))
        assert summary.done and summary.unsealed == 0
    assert export_tree(tmp_path / "1") == export_tree(tmp_path / "2")
    counts = [done for done, _ in seen[: len(seen) // 2]]
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == seen[0][1] == sum(summary.images.values())
    assert not (tmp_path / "1" / "to" / "parts").exists()


def test_pieces_join_into_rows_that_match_their_images(
    dataset: Path, tmp_path: Path, labels, small_pieces: None
) -> None:
    export(str(dataset), str(tmp_path / "to"), "spin")
    with np.load(tmp_path / "to" / "hard-poses-train.npz") as rows:
        seen: dict[str, int] = {}
        for image, pose in zip(rows["imgname"], rows["pose"], strict=True):
            number = seen[image] = seen.get(image, -1) + 1
            np.testing.assert_array_equal(pose, labels[Path(image).stem]["pose"][number])
    assert len({Path(image).parent for image in seen}) == 5


def test_again_there_is_nothing_to_do(dataset: Path, tmp_path: Path) -> None:
    arguments = str(dataset), str(tmp_path / "to"), "hmr2", "train=1", "people = 2"
    first = export(*arguments)
    before = export_tree(tmp_path / "to")
    again = export(*arguments)
    assert first.done and not again.done and again.people == first.people
    assert export_tree(tmp_path / "to") == before


def test_a_condition_chooses_and_moves_nothing_across_the_split(dataset: Path, tmp_path: Path, exported) -> None:
    summary = export(str(dataset), str(tmp_path / "to"), "hmr2", SPLIT, "score > 30 and people = 1")
    assert 0 < summary.images["train"] == summary.people["train"]
    for part in ("train", "val"):
        few, all_ = (
            {key for key, _ in people(folder / f"hard-poses-{part}")} for folder in (tmp_path / "to", exported("hmr2"))
        )
        assert few < all_
    assert "score > 30 and people = 1" in (tmp_path / "to" / "README.md").read_text()


def test_all_people_of_an_image_are_on_one_side(exported, labels) -> None:
    sides = {part: [key for key, _ in people(exported("hmr2") / f"hard-poses-{part}")] for part in ("train", "val")}
    assert not set(sides["train"]) & set(sides["val"])
    for keys in sides.values():
        assert all(keys.count(key) == len(labels[key]["pose"]) for key in set(keys))
    assert 0.7 < len(set(sides["train"])) / len(labels) < 0.9


@pytest.mark.parametrize("real", [False, True], ids=["of a text", "of a picture"])
def test_variants_of_one_original_are_on_one_side(values: dict, tmp_path: Path, real: bool) -> None:
    values |= {"records": 24, "image_size": 64}
    values["stages"]["estimate"]["augment"] = {"variants": 3}
    if real:
        (tmp_path / "in").mkdir()
        for i in range(8):
            Image.new("RGB", (64, 64), (i, 0, 0)).save(tmp_path / "in" / f"{i}.png")
        values["images"] = {"path": str(tmp_path / "in")}
        del values["stages"]["generate"]["model"]
    small.make(JobSpec.model_validate(values), rejected=(), two=())
    export(values["output"], str(tmp_path / "to"), "hmr2", "train=0.5,val=0.5")
    sides = {
        part: {(int(key[-8:]) // 3) for key, _ in people(tmp_path / "to" / f"small-{part}")}
        for part in ("train", "val")
    }
    assert sides["train"] | sides["val"] == set(range(8)) and not sides["train"] & sides["val"]


@pytest.mark.parametrize(
    "text", ["train", "train=0.9", "train=1,val=1", "a=0.5,a=0.5", "tr/ain=1", "a=1,b=0", "a=-1,b=2"]
)
def test_a_split_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--split"):
        split.parse(text)
    assert list(split.parse("val=.05, train=0.95").items()) == [("train", 0.95), ("val", 0.05)]


def test_of_an_unfinished_data_set_the_sealed_shards_are_exported(dataset: Path, tmp_path: Path, factory: Run) -> None:
    half = tmp_path / "half"
    shutil.copytree(dataset, half)
    (half / "hard_poses-000002.parquet").unlink()
    done = factory("export", half, "--format", "camerahmr", "--to", tmp_path / "to")
    assert done.returncode == 0, done.stderr
    assert "1 shard was not sealed yet" in done.stdout
    assert "not finished" in (tmp_path / "to" / "README.md").read_text()
    with np.load(tmp_path / "to" / "hard-poses-train.npz") as rows:
        numbers = {int(Path(name).stem[-8:]) for name in rows["imgname"]}
    assert numbers and not numbers & set(range(120, 180))
    shutil.copy(dataset / "hard_poses-000002.parquet", half)  # the run went on: a begun export stays what it was
    assert not export(str(half), str(tmp_path / "to"), "camerahmr").done


def test_of_a_data_set_without_a_sealed_shard_there_is_none(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    shutil.copy(dataset / "job.json", tmp_path / "out")
    with pytest.raises(UserError, match="no shard is sealed yet"):
        export(str(tmp_path / "out"), str(tmp_path / "to"), "hmr2")
    assert not (tmp_path / "to").exists()


def test_of_a_data_set_without_a_sample_there_is_none(values: dict, tmp_path: Path) -> None:
    spec = JobSpec.model_validate({**values, "records": 4, "image_size": 64})
    small.make(spec, rejected=range(4))
    with pytest.raises(UserError, match="its sealed shards hold no sample; every record was rejected or failed"):
        export(spec.output, str(tmp_path / "to"), "hmr2")
    assert not (tmp_path / "to").exists()


def test_a_shard_without_a_sample_is_no_fault(values: dict, tmp_path: Path) -> None:
    spec = JobSpec.model_validate({**values, "records": 8, "image_size": 64})
    small.make(spec, rejected=range(4, 8))
    assert export(spec.output, str(tmp_path / "to"), "hmr2").images == {"train": 4}


def test_a_damaged_shard_is_named(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "out")
    shard = tmp_path / "out" / "hard_poses-000001.tar"
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(UserError, match="hard_poses-000001.tar: hard_poses-.*: damaged .*factory verify"):
        export(str(tmp_path / "out"), str(tmp_path / "to"), "spin")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "hmr"}, "did you mean hmr2?"),
        ({"name": "coco"}, "there are spin, hmr2, bedlam, camerahmr, humandata"),
        ({"out": "/nowhere"}, "no data set is there"),
        ({"where": "scoer > 30"}, "unknown column scoer; did you mean score?"),
        ({"where": "score > 1000"}, "none of the 215 samples fits"),
        ({"shares": "train=0.9999,val=0.0001"}, "none of the 215 images falls to it"),
        ({"shares": "train=0.5"}, "add up to 1"),
    ],
)
def test_bad_input_is_one_line_and_touches_nothing(dataset: Path, tmp_path: Path, change: dict, words: str) -> None:
    to = tmp_path / "to"
    with pytest.raises(UserError) as error:
        export(**{"out": str(dataset), "to": str(to), "name": "hmr2", **change})
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not to.exists()


@pytest.mark.parametrize("step", ["factory.store.fs.make_folder", "os.replace"])
def test_a_full_disk_is_told_of_in_one_line(dataset: Path, tmp_path: Path, monkeypatch, step: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(UserError, match="no space is left"):
        patched.setattr(step, full)
        export(str(dataset), str(tmp_path / "to"), "spin", workers=1)
    assert export(str(dataset), str(tmp_path / "to"), "spin", workers=1).done


def test_a_folder_with_something_else_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    def refused(to: Path, words: str, name: str = "hmr2", where: str | None = "people = 2") -> None:
        before = export_tree(tmp_path)
        with pytest.raises(UserError, match=words):
            export(str(dataset), str(to), name, "train=1", where)
        assert export_tree(tmp_path) == before

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    refused(tmp_path / "notes", "holds files but no export .such as a.txt")
    refused(tmp_path / "notes" / "a.txt", "cannot be used")
    refused(dataset / "export", "inside the data set")
    export(str(dataset), str(tmp_path / "to"), "hmr2", "train=1", "people = 2")
    refused(tmp_path / "to", "another export .*format: hmr2 there, spin here", name="spin")
    refused(tmp_path / "to", "another export .*where: people = 2 there, None here", where=None)


def test_the_command_exports_checks_and_refuses(dataset: Path, tmp_path: Path, factory: Run) -> None:
    to = tmp_path / "to"
    done = factory("export", dataset, "--format", "hmr2", "--to", to, "--split", SPLIT, "--where", "score > 30")
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout and "Done: train " in done.stdout and "README.md" in done.stdout
    assert "images" in json.loads((to / "export.json").read_text())
    assert factory("validate", to, "--format", "hmr2").returncode == 0
    wrong = factory("validate", to, "--format", "spin")
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: ") and "no .npz" in wrong.stderr
    refused = factory("export", dataset, "--format", "hmr2", "--to", to, "--where", "scoer > 30")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "Traceback" not in refused.stderr


def test_home_in_a_target_is_replaced(dataset: Path, tmp_path: Path, monkeypatch) -> None:
    """`--to=~/x` comes as it is written: shells replace only what stands alone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    export(str(dataset), "~/to", "hmr2", "train=1", "people = 2")
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_the_data_set_of_these_tests_is_as_they_count_on(dataset: Path, labels) -> None:
    assert len(labels) == 215 and job(dataset, 240).name == "hard_poses"
    assert sum(len(label["pose"]) for label in labels.values()) > 250

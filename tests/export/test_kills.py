"""Exports that are killed, again and again, and data sets that change in between."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from factory.engine.run import run_job
from factory.errors import UserError
from factory.export.run import export
from factory.job import JobSpec
from factory.record import Record
from factory.store.dataset import open_data
from factory.store.index import SCHEMA, index_bytes, index_table, tar_digest
from factory.store.reopen import retry
from tests.support.command import ROOT
from tests.support.exports import people
from tests.support.files import export_tree
from tests.support.posed_stages import STAGES, job
from tests.support.seeded_stages import Depth

pytestmark = pytest.mark.heavy(3)

# An export in steps of 5 images that kills itself, and itself alone, when it is told of `after` images; it tells its
# workers first.
KILLED = """
import multiprocessing, os, signal, sys
from factory.export import hmr2
from factory.export import run as runs

runs.PIECE = hmr2.PIECE = 20
runs.STEP = 5
out, to, name, workers, after = sys.argv[1:]
first = None

def told(done, total):
    global first
    first = done if first is None else first
    if done >= first + int(after):
        print(*[process.pid for process in multiprocessing.active_children()], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    runs.export(out, to, name, "train=1", "key < 'hard_poses-00000060'", int(workers), told)
"""


@pytest.fixture
def killed(tmp_path: Path):
    program = tmp_path / "killed.py"
    program.write_text(KILLED)

    def run_it(out: Path, to: Path, name: str, workers: int = 1, after: int = 5) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(program), *map(str, (out, to, name, workers, after))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)

    return run_it


class Whole(Depth):
    """Fails no record."""

    def process(self, records: list[Record]) -> None:
        for record in records:
            record.depth = np.zeros((self.job.image_size,) * 2, np.float32)


HEALED = [STAGES[0], STAGES[1], Whole, STAGES[3]]


@pytest.mark.parametrize("name", ["hmr2", "spin"])
def test_a_killed_export_then_retry_and_run_loses_and_doubles_nothing(
    dataset: Path, tmp_path: Path, killed, name: str
) -> None:
    out, to = tmp_path / "out", tmp_path / "to"
    shutil.copytree(dataset, out)
    assert killed(out, to, name, after=20).returncode == -signal.SIGKILL
    kept = tmp_path / "kept"
    shutil.copytree(to, kept)
    assert retry(str(out)).records == 1
    spec: JobSpec = open_data(out).job.model_copy(update={"output": str(out)})
    with pytest.raises(UserError, match="not sealed in .* now, such as hard_poses-000000; let factory run finish them"):
        export(str(out), str(to), name, "train=1", "key < 'hard_poses-00000060'")
    assert export_tree(to) == export_tree(kept)
    run_job(spec, HEALED)
    export(str(out), str(to), name, "train=1", "key < 'hard_poses-00000060'")
    fresh = tmp_path / "fresh" / "to"
    export(str(out), str(fresh), name, "train=1", "key < 'hard_poses-00000060'")
    assert export_tree(to) == export_tree(fresh)
    if name == "hmr2":
        keys = [key for key, _ in people(to)]
        assert len(set(keys)) == 54 and "hard_poses-00000007" in keys  # all that are ok now


def test_a_whole_export_of_an_older_state_is_left_as_it_is(dataset: Path, tmp_path: Path) -> None:
    out, to = tmp_path / "out", tmp_path / "to"
    shutil.copytree(dataset, out)
    export(str(out), str(to), "camerahmr")
    before = export_tree(to)
    retry(str(out))
    run_job(open_data(out).job.model_copy(update={"output": str(out)}), HEALED)
    with pytest.raises(UserError, match="whole export of an older state of .* hard_poses-000000 changed .*elsewhere"):
        export(str(out), str(to), "camerahmr")
    assert export_tree(to) == before


def test_a_data_set_that_changes_under_an_export_is_told(dataset: Path, tmp_path: Path) -> None:
    out, to = tmp_path / "out", tmp_path / "to"
    shutil.copytree(dataset, out)
    sealed = (out / "hard_poses-000001.parquet").read_bytes()

    def resealed(done: int, total: int) -> None:
        data = (out / "hard_poses-000001.tar").read_bytes()
        rows = index_table(sealed)[0].to_pylist()
        rows[0]["attempts"] = 9
        (out / "hard_poses-000001.parquet").write_bytes(
            index_bytes(pa.Table.from_pylist(rows, SCHEMA), tar_digest(data))
        )

    with pytest.raises(UserError, match="hard_poses-000001 was made anew while it was exported; run the same export"):
        export(str(out), str(to), "camerahmr", on_piece=resealed)
    assert export(str(out), str(to), "camerahmr").done
    export(str(out), str(tmp_path / "fresh" / "to"), "camerahmr")
    assert export_tree(to) == export_tree(tmp_path / "fresh" / "to")


@pytest.mark.parametrize("name", ["hmr2", "spin"])
def test_an_export_that_is_always_killed_gets_done_all_the_same(
    dataset: Path, tmp_path: Path, killed, name: str
) -> None:
    """Each run lives for two steps."""
    to, runs = tmp_path / "killed" / "to", 0
    while (done := killed(dataset, to, name, after=10)).returncode == -signal.SIGKILL:
        runs += 1
        assert runs <= 6
    assert done.returncode == 0 and runs >= 4, done.stderr
    assert killed(dataset, tmp_path / "whole" / "to", name, after=10**9).returncode == 0
    assert export_tree(to) == export_tree(tmp_path / "whole" / "to")


def test_workers_end_with_their_export(dataset: Path, tmp_path: Path, killed) -> None:
    """It alone is killed, not its group."""
    done = killed(dataset, tmp_path / "to", "hmr2", workers=2)
    assert done.returncode == -signal.SIGKILL and len(done.stdout.split()) >= 2
    for worker in map(int, done.stdout.split()):
        try:
            process = os.pidfd_open(worker)
        except ProcessLookupError:
            continue
        assert select.select([process], [], [], 60)[0], f"worker {worker} is still there"
        os.close(process)
    assert killed(dataset, tmp_path / "to", "hmr2", workers=2, after=10**9).returncode == 0


def test_what_others_keep_in_the_target_stays(dataset: Path, tmp_path: Path, killed) -> None:
    """The target is a git checkout, and somebody puts files into a begun export: neither is swept."""
    to = tmp_path / "to"
    for folder in (".git/refs/tags", ".git/objects/info"):
        (to / folder).mkdir(parents=True)
    (to / ".git" / ".HEAD.tmp").write_text("mine")
    assert killed(dataset, to, "spin", after=20).returncode == -signal.SIGKILL
    (to / "parts" / "train" / "notes.txt").write_text("mine")
    (to / "images" / "train" / "000000" / "mine.jpg").write_text("mine")
    (to / "empty" / "folder").mkdir(parents=True)
    assert killed(dataset, to, "spin", after=10**9).returncode == 0
    for folder in (".git/refs/tags", ".git/objects/info", "empty/folder"):
        assert (to / folder).is_dir(), folder
    for file in (".git/.HEAD.tmp", "parts/train/notes.txt", "images/train/000000/mine.jpg"):
        assert (to / file).read_text() == "mine"


def test_an_export_of_another_version_is_not_gone_on_with(dataset: Path, tmp_path: Path) -> None:
    export(str(dataset), str(tmp_path / "to"), "camerahmr")
    mark = tmp_path / "to" / "export.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "layout": 1}))
    with pytest.raises(UserError, match="export.json is not one that this version can go on with"):
        export(str(dataset), str(tmp_path / "to"), "camerahmr")


@pytest.mark.parametrize(("name", "format_"), [("closeup", "bedlam"), ("my_closeups", "camerahmr"), ("portraits", "camerahmr")])  # fmt: skip # noqa: E501
def test_a_name_at_which_the_trainer_turns_images_is_refused(tmp_path: Path, name: str, format_: str) -> None:
    spec = job(tmp_path / "out", 20).model_copy(update={"name": name})
    run_job(spec, STAGES)
    with pytest.raises(UserError, match=f"the name {name} holds .* by 90 degrees, but not the labels"):
        export(str(tmp_path / "out"), str(tmp_path / "to"), format_)
    assert not (tmp_path / "to").exists()
    assert export(str(tmp_path / "out"), str(tmp_path / "to"), "spin").done  # which does not

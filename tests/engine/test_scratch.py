"""Temporary folders: private, gone with their run, and nothing of anybody else's is ever removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from factory.engine.run import run_job
from factory.engine.scratch import LONGEST, MARK, PREFIX, scratch, sweep
from tests.support.command import ROOT
from tests.support.files import tree
from tests.support.seeded_stages import STAGES

pytestmark = pytest.mark.heavy(2)

KILLED = """
import os, signal
from factory.engine.scratch import scratch
with scratch() as folder:
    (folder / "spilled").write_text("a unit")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
MANY = """
from factory.engine.scratch import scratch
for _ in range(100):
    with scratch() as folder:
        (folder / "r").mkdir()
        (folder / "r" / "socket").write_text("mine")
        assert (folder / "r" / "socket").read_text() == "mine"
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))  # short, as sockets want it
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def killed() -> Path:
    """A folder whose run was killed."""
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Path(done.stdout.strip())


def test_a_data_set_and_notes_named_like_our_folders_are_left_alone(temporary, job):
    """They were removed, silently, by every Ray run."""
    job = job.model_copy(update={"output": str(temporary / "factory-pilot")})
    run_job(job, STAGES)
    (temporary / "factory-notes").mkdir()
    (temporary / "factory-notes" / "ideas.txt").write_text("do not lose")
    (temporary / "factory-list").write_text("a file")
    (temporary / "factory-link").symlink_to(temporary / "factory-notes")
    before = tree(job.output)
    with scratch():
        pass
    sweep()
    assert tree(job.output) == before
    assert (temporary / "factory-notes" / "ideas.txt").read_text() == "do not lose"
    assert (temporary / "factory-list").is_file() and (temporary / "factory-link").is_symlink()


def test_what_a_killed_run_left_is_removed_by_the_next_one_inline_too(temporary, job):
    left = killed()
    assert (left / "spilled").exists() and left.parent == temporary
    run_job(job, STAGES)
    assert not left.exists()


def reused(mark: dict) -> None:
    mark["pid"] = os.getpid()  # the number was given again: to us, who started later


def elsewhere(mark: dict) -> None:
    mark["host"] = "another"


def in_a_container(mark: dict) -> None:
    mark["namespace"] = "pid:[1]"


def restarted(mark: dict) -> None:
    mark["boot"] = "before"


@pytest.mark.parametrize(
    ("change", "goes"),
    [(reused, True), (restarted, True), (elsewhere, False), (in_a_container, False)],
)
def test_only_where_the_owner_is_known_to_be_dead(temporary, change: Callable[[dict], None], goes: bool):
    folder = killed()
    mark = json.loads((folder / MARK).read_text())
    change(mark)
    (folder / MARK).write_text(json.dumps(mark))
    sweep()
    assert folder.exists() is not goes


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"folder": "/", "pid": "x"}'])
def test_a_mark_that_says_nothing_removes_nothing(temporary, text):
    folder = killed()
    (folder / MARK).write_text(text)
    sweep()
    assert folder.exists()


def test_a_copy_a_link_and_another_users_folder_stay(temporary, monkeypatch):
    folder = killed()
    copy = shutil.copytree(folder, temporary / f"{PREFIX}backup")
    target = shutil.copytree(folder, temporary / "target")
    (temporary / f"{PREFIX}linked").symlink_to(target)
    sweep()
    assert not folder.exists() and copy.exists() and target.exists()
    theirs = killed()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    sweep()
    assert theirs.exists()


def test_private_and_gone_with_the_run(temporary):
    with scratch() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700 and folder.parent == temporary
        sweep()
        assert folder.exists()
    assert not folder.exists()


def test_a_long_TMPDIR_does_not_break_rays_sockets(tmp_path, monkeypatch):
    long = tmp_path / ("x" * LONGEST)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with scratch() as folder:
        assert folder.parent == Path("/tmp")


def test_two_thousand_starts_at_once(temporary):
    """Each sweeps what the others are about to mark, and none loses its folder."""

    def start(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", MANY], cwd=ROOT, capture_output=True, text=True)

    with ThreadPoolExecutor(20) as threads:
        ends = list(threads.map(start, range(20)))
    assert [end.stderr for end in ends if end.returncode] == []
    assert list(temporary.iterdir()) == []

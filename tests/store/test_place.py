"""A run and the folder it writes to: moved, replaced or robbed under it; and how its place may be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.engine.run import run_job
from factory.errors import UserError
from factory.store import lock
from factory.store.fs import open_files
from factory.store.ledger import open_ledger
from factory.store.status import status
from factory.store.verify import repair, verify
from tests.support.command import ROOT
from tests.support.files import folders, tree
from tests.support.seeded_stages import STAGES


def moved(out: Path) -> None:
    out.rename(out.with_name("moved"))


def replaced(out: Path) -> None:
    moved(out)
    out.mkdir()


def replaced_by_a_link(out: Path) -> None:
    moved(out)
    out.with_name("other").mkdir()
    out.symlink_to("other")


def replaced_by_a_copy(out: Path) -> None:
    moved(out)
    shutil.copytree(out.with_name("moved"), out)


def removed(out: Path) -> None:
    shutil.rmtree(out)


def robbed_of_its_job(out: Path) -> None:
    (out / "job.json").unlink()


def robbed_of_its_lock(out: Path) -> None:
    (out / ".lock").unlink()


def locked_by_another(out: Path) -> None:
    (out / ".lock").rename(out / ".lock.old")
    (out / ".lock").write_bytes((out / ".lock.old").read_bytes())


@pytest.mark.parametrize(
    ("disturb", "words"),
    [
        (moved, "was moved, removed or replaced"), (replaced, "was moved, removed or replaced"),
        (replaced_by_a_link, "was moved, removed or replaced"), (replaced_by_a_copy, "was moved, removed or replaced"),
        (removed, "was moved, removed or replaced"), (robbed_of_its_job, "job.json was taken from"),
        (robbed_of_its_lock, ".lock was removed or replaced"), (locked_by_another, ".lock was removed or replaced"),
    ],
)  # fmt: skip
def test_a_run_whose_folder_is_disturbed_ends_in_one_line_and_writes_nothing_elsewhere(
    job, tmp_path, disturb: Callable[[Path], None], words
):
    out, after = Path(job.output), {}

    def strike(event) -> None:
        if event.kind == "sealed" and not after:
            disturb(out)
            after.update(contents(tmp_path))

    with pytest.raises(UserError, match=words) as error:
        run_job(job, STAGES, strike)
    assert "\n" not in str(error.value)
    left = {name: data for name, data in contents(tmp_path).items() if not name.endswith((".lock", ".lock.old"))}
    assert left == {name: data for name, data in after.items() if not name.endswith((".lock", ".lock.old"))}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_put_back_goes_on(job, tmp_path):
    undisturbed = job.model_copy(update={"output": str(tmp_path / "undisturbed")})
    run_job(undisturbed, STAGES)
    out = Path(job.output)
    with pytest.raises(UserError):
        run_job(job, STAGES, lambda event: moved(out) if event.kind == "sealed" else None)
    out.with_name("moved").rename(out)
    assert run_job(job, STAGES).units_found
    assert tree(out) == tree(undisturbed.output) and not folders(out)


def test_a_second_run_that_finds_no_lock_is_left_alone_by_the_first(job):
    """Somebody has removed .lock under a run, and started another: the first one ends."""
    with pytest.raises(UserError, match="lock was removed or replaced"), open_ledger(job, _plan(job)) as ledger:
        robbed_of_its_lock(Path(job.output))
        with lock.hold(open_files(job.output)):
            assert status(job.output).live.pid == os.getpid()
            ledger.lease.check()
    assert status(job.output).live is None and verify(job.output).ok
    run_job(job, STAGES)
    assert repair(job.output).complete


def _plan(job):
    from factory.plan import plan

    return plan(job)


FORK = """
import ctypes, os, signal, sys
from factory.store.fs import open_files
from factory.store.lock import hold
fork = os.fork if sys.argv[2] == "python" else ctypes.CDLL(None).fork  # of a library: Python is not told of it
with hold(open_files(sys.argv[1])):
    if not fork():
        print(os.getpid(), flush=True)
        signal.pause()
    input()
print("given back", flush=True)
input()
"""


@pytest.mark.parametrize("by", ["python", "library"])
def test_a_child_does_not_keep_the_lock_of_a_run_that_has_ended(tmp_path, by):
    files = open_files(tmp_path)
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORK, str(tmp_path), by], cwd=ROOT, **pipe) as process:
        child = int(process.stdout.readline())
        try:
            assert lock.holder(files).pid == process.pid
            print(file=process.stdin, flush=True)
            assert process.stdout.readline() == "given back\n"
            assert lock.holder(files) is None
            with lock.hold(files):
                pass
        finally:
            os.kill(child, 9)
            process.communicate("\n")


@pytest.mark.parametrize("by", ["python", "library"])
def test_of_a_killed_run_a_child_that_keeps_the_lock_is_named(tmp_path, by):
    """Python's own children give it up at once; of others the process is told that must be ended."""
    files = open_files(tmp_path)
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORK, str(tmp_path), by], cwd=ROOT, **pipe) as process:
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            if by == "python":
                assert lock.holder(files) is None
            else:
                assert lock.holder(files).pid == child
                with pytest.raises(UserError, match=f"in use by process {child} on "), lock.hold(files):
                    pass
        finally:
            os.kill(child, 9)


@pytest.mark.parametrize("written", ["~/out", "$ROOM/out", "${ROOM}/out"])
def test_home_and_variables_in_an_output_are_replaced(job, tmp_path, monkeypatch, written):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ROOM", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run_job(job.model_copy(update={"output": written}), STAGES)
    assert verify(written).complete and verify(str(tmp_path / "out")).complete
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(("written", "words"), [("$NOT_SET_HERE/out", "no variable NOT_SET_HERE"),
                                                ("~nobody-of-that-name/out", "no home is known")])  # fmt: skip
def test_a_variable_that_is_not_set_is_one_line(job, tmp_path, monkeypatch, written, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        run_job(job.model_copy(update={"output": written}), STAGES)
    assert not list(tmp_path.iterdir())


def test_spaces_braces_and_lone_dollars_are_names_as_any(tmp_path):
    files = open_files(tmp_path / "a {b} #c ~d $ 5$")
    files.put("x", [b"1"])
    assert (tmp_path / "a {b} #c ~d $ 5$" / "x").read_bytes() == b"1"

"""Shares and disks that answer as no local disk does: no locks, no fsync of folders, errors half-way, other users."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from factory.engine.run import run_job
from factory.job import JobSpec
from factory.store.status import status
from factory.store.verify import verify
from tests.support import odd_disk
from tests.support.command import ROOT
from tests.support.files import folders, tree
from tests.support.seeded_stages import STAGES

pytestmark = pytest.mark.heavy(2)


def drive(verb: str, job: JobSpec, environment: dict[str, str], more: Iterable[str] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.store.run_as_user", verb, job.model_dump_json(), *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def refused(job: JobSpec, environment: dict[str, str], verb: str = "run") -> str:
    """The one line of a command that ends with exit code 2."""
    process = drive(verb, job, environment)
    _, wrong = process.communicate("\n")
    assert process.returncode == 2 and "Traceback" not in wrong and wrong.count("\n") == 1, wrong
    return wrong


@pytest.fixture
def small(job) -> JobSpec:
    """Two shards, the last unit short."""
    return job.model_copy(update={"records": 5, "unit_size": 2, "samples_per_shard": 4})


@pytest.fixture
def whole(small, tmp_path) -> dict[str, bytes]:
    """The data set as an ordinary disk holds it."""
    usual = small.model_copy(update={"output": str(tmp_path / "usual")})
    run_job(usual, STAGES)
    return tree(usual.output)


def test_a_share_without_locks_and_without_fsync_of_folders_holds_the_same_data_set(small, whole):
    process = drive("run", small, odd_disk.environment(flock=errno.ENOSYS, fsyncdir=errno.EINVAL))
    _, wrong = process.communicate()
    assert process.returncode == 0, wrong
    assert tree(small.output) == whole and not folders(small.output)
    assert status(small.output).complete and status(small.output).live is None


def test_on_a_share_without_locks_a_second_run_is_refused_and_a_killed_one_is_gone_at_once(small):
    without = odd_disk.environment(flock=errno.ENOLCK)
    with drive("hold", small, without) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        assert f"in use by process {first.pid} on " in refused(small, without, "hold")
        assert f"in use by process {first.pid} on " in refused(small, odd_disk.environment(), "hold")  # it sees locks
        first.kill()
    with drive("hold", small, without) as second:
        said, wrong = second.communicate("\n")
    assert (said, second.returncode) == ("held\n", 0), wrong  # nobody was watched


def test_of_many_runs_that_begin_at_once_on_a_share_without_locks_one_gets_it(small):
    Path(small.output).mkdir()
    crowd = [drive("hold", small, odd_disk.environment(flock=errno.EOPNOTSUPP)) for _ in range(4)]
    watched = [process.stdout.readline() for process in crowd]  # waits until each is held, refused, or watching
    ends = [process.communicate("\n") for process in crowd]
    assert watched.count("held\n") == 1
    assert {process.returncode for process in crowd} <= {0, 2} and not any("Traceback" in wrong for _, wrong in ends)


def test_a_run_frozen_on_a_share_without_locks_writes_no_more_when_it_wakes(small, monkeypatch):
    """Another run has taken the place meanwhile, and has given it back."""
    without = odd_disk.environment(flock=errno.ENOLCK)
    process = drive("step", small, without)
    assert process.stdout.readline() == "unit\n"
    process.send_signal(signal.SIGSTOP)
    (Path(small.output) / ".lock").write_bytes(b"")
    before = tree(small.output)
    process.send_signal(signal.SIGCONT)
    _, wrong = process.communicate("\n" * 9)
    assert process.returncode == 2 and "was taken over by another run" in wrong and wrong.count("\n") == 1
    assert tree(small.output) == before


@pytest.mark.parametrize(
    ("number", "call", "path", "after"),
    [
        (errno.EIO, "fsync", "parts/", 2),
        (errno.ESTALE, "fsync", "small-000000.tar", 0),
        (errno.EIO, "fsyncdir", "/out", 9),
        (errno.ESTALE, "rename", ".parquet", 1),
        (errno.EIO, "open", "small-000000.parquet", 0),
        (errno.ESTALE, "open", "parts/000000", 3),
        (errno.EIO, "read", "parts/000000/000000.tar", 0),
        (errno.ESTALE, "list", "/out", 0),
    ],
)
def test_a_disk_that_fails_half_way_is_one_line_and_nothing_is_marked_done_that_is_not(
    small, whole, number, call, path, after
):
    wrong = refused(small, odd_disk.environment(path, after, **{call: number}))
    assert small.output in wrong and ("input/output error" in wrong or "stale file handle" in wrong)
    if Path(small.output, "job.json").exists():
        assert verify(small.output).ok and status(small.output).live is None
    assert not list(Path(small.output).rglob("*.tmp"))
    run_job(small, STAGES)
    assert tree(small.output) == whole and not folders(small.output)


TEAM, ANN, BOB = 4242, 4243, 4244  # a group and two users, who need not exist
NOWHERE = {"model": "none"}  # models that another user need not look for
MODELS = {
    "body": {**NOWHERE, "name": "none"},
    "stages": {
        "generate": NOWHERE,
        "estimate": {"hmr": NOWHERE, "prior": NOWHERE, "detector": NOWHERE},
        "refine": NOWHERE,
        "score": {"enabled": False},
    },
}


@pytest.fixture
def shared(small, tmp_path):
    """The job in a folder that a team may write, reached by everybody; and how one of the team does something."""
    if os.getuid():
        pytest.skip("only root may be several users")
    if not all(folder.stat().st_mode & 0o001 for folder in (ROOT, *ROOT.parents)):
        pytest.skip("other users cannot reach this checkout")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, 0, TEAM)
        os.chmod(folder, 0o2775)
        job = JobSpec.model_validate({**small.model_dump(), **MODELS, "output": f"{folder}/out"})

        def by(user: int, verb: str, mask: str = "002") -> subprocess.Popen[str]:
            who = ["--user", str(user), str(TEAM), mask, str(tmp_path / f"{user}-{verb}")]
            return drive(verb, job, dict(os.environ), who)

        yield job, by


def test_a_team_mate_with_the_right_to_write_goes_on(shared):
    """The umask decides about the modes of files, of .lock too."""
    job, by = shared
    _, wrong = (process := by(ANN, "run")).communicate()
    assert process.returncode == 0, wrong
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in Path(job.output).iterdir()}
    assert set(modes.values()) == {"0o664"}, modes
    whole = tree(job.output)
    Path(job.output, "small-000001.parquet").unlink()
    _, wrong = (process := by(BOB, "run")).communicate()
    assert process.returncode == 0, wrong
    assert tree(job.output) == whole and verify(job.output).complete


def test_a_lock_that_may_not_be_read_or_written_is_one_line_and_the_status_is_told(shared):
    job, by = shared
    with by(ANN, "hold", "077") as holder:
        assert holder.stdout.readline() == "held\n", holder.stderr.read()
        os.chmod(job.output, 0o2775)
        Path(job.output, "job.json").write_bytes(json.dumps({"job": job.model_dump(mode="json")}).encode())
        assert by(BOB, "status").communicate() == ("0 another run\n", "")
        _, wrong = (process := by(BOB, "hold")).communicate()
        assert process.returncode == 2 and wrong.count("\n") == 1, wrong
        assert ".lock: permission denied; ask its owner for the right" in wrong
        holder.communicate("\n")
    assert by(BOB, "status").communicate() == ("0 None\n", "")

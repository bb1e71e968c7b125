"""A run that is frozen while it writes, for longer than its lease lasts, and wakes after others have gone on."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from factory.engine.run import run_job
from factory.errors import UserError
from factory.store import lock
from factory.store.fs import LocalFiles
from factory.store.mark import MARK_NAME
from factory.store.reopen import retry
from factory.store.status import status
from factory.store.verify import verify
from tests.support.command import ROOT
from tests.support.files import tree
from tests.support.holders import elsewhere
from tests.support.s3 import stored
from tests.support.seeded_stages import STAGES, Depth, Mended

pytestmark = pytest.mark.heavy(2)

STALE = 1.0  # s
ZOMBIE = f"""
import sys
from factory.store import lock
lock.BEAT, lock.STALE = 0.1, {STALE}
from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from tests.support.seeded_stages import STAGES
try:
    run_job(JobSpec.model_validate_json(sys.argv[1]), STAGES)
except UserError as error:
    sys.exit(f"error: {{error}}")
"""


@pytest.mark.parametrize("write", ["small-000000.tar", "small-000000.parquet", "000001.tar", "000001.parquet"])
def test_a_holder_frozen_in_a_write_does_not_bring_back_the_shard_of_before(
    url, proxy, remote, tmp_path, monkeypatch, write
):
    """It is stopped within a PUT; the place is taken over, its failed record retried and mended; then it wakes."""
    job = remote.model_copy(update={"records": 8, "output": remote.output + write[-12:].replace(".", "")})
    mended = [Mended if stage is Depth else stage for stage in STAGES]
    undisturbed = job.model_copy(update={"output": str(tmp_path / "undisturbed")})
    run_job(undisturbed, mended)
    monkeypatch.setattr(lock, "STALE", STALE)
    proxy.freeze = write
    command = [sys.executable, "-c", ZOMBIE, job.model_dump_json()]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as zombie:
        try:
            assert proxy.held.wait(60)
            zombie.send_signal(signal.SIGSTOP)
            run_job(job, STAGES if "small" in write else mended)
            retry(job.output)
            run_job(job, mended)
            assert status(job.output).states == {"ok": 7, "rejected": 1}
        finally:
            proxy.thawed.set()
            zombie.send_signal(signal.SIGCONT)
        words = zombie.communicate()[1]
    assert zombie.returncode == 1 and words.startswith("error: ") and words.count("\n") == 1, words
    assert "was taken over" in words, words
    assert verify(job.output).ok and verify(job.output).complete
    there = {name: data for name, data in stored(url, job).items() if not name.startswith("parts/")}
    assert there == {name: data for name, data in tree(undisturbed.output).items() if name != MARK_NAME}
    assert run_job(job, STAGES).units_done == 0


def test_a_holder_that_lost_a_folder_while_it_wrote_leaves_what_is_there(tmp_path, monkeypatch):
    """On a disk whose machines do not see each other's locks: it is asked at the last moment, not only before."""
    monkeypatch.setattr(lock, "BEAT", 0.001)
    files = LocalFiles(tmp_path)
    files.put("index", [b"new"])
    before = set(threading.enumerate())
    with lock.hold(files) as lease:
        (heart,) = set(threading.enumerate()) - before

        def chunks():
            yield b"of "
            elsewhere(files, age=0)
            heart.join(60)
            yield b"before"

        with pytest.raises(UserError, match="taken over by process 7 on elsewhere"):
            files.put("index", chunks(), lease.check)
    assert files.read("index") == b"new" and files.sizes() == {"index": 3}

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.command import ROOT

pytestmark = pytest.mark.heavy(25)


def test_killed_before_and_after_every_operation_on_the_disk(job):
    """Two shards, the last unit short: resumed, each comes out byte-identical to the uninterrupted run."""
    small = job.model_copy(update={"records": 5, "unit_size": 2, "samples_per_shard": 4})
    command = [sys.executable, "-m", "tests.store.kill_at_disk_operations", small.model_dump_json()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kills = int(done.stdout.split()[0])
    assert kills > 100 and "of 6 operations" in done.stdout

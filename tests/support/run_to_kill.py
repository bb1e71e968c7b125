"""A run to be killed: `python -m tests.support.run_to_kill JOB_JSON [Slower]` tells each event in a line of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from tests.support.command import ROOT
from tests.support.seeded_stages import LINES


def kill_run_after(job: JobSpec, events: int) -> list[str]:
    """Run in a process of its own, kill -9 it after so many events, wherever it is by then; what it said."""
    command = [sys.executable, "-m", "tests.support.run_to_kill", job.model_dump_json()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        said = [process.stdout.readline() for _ in range(events)]
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return said


if __name__ == "__main__":
    job, line = JobSpec.model_validate_json(sys.argv[1]), LINES["".join(sys.argv[2:]) or "Depth"]
    try:
        run_job(job, line, lambda event: print(event.kind, event.message, flush=True))
    except UserError as error:
        sys.exit(f"error: {error}")

"""Runs and lock holders for odd disks, in a process of their own.

    python -m tests.store.run_as_user VERB JOB_JSON [--user UID GID UMASK WARM]

VERB: run makes the data set. step does too, but says "unit" after each one and waits for a line to come in. hold takes
the lock, says "held" and keeps it until a line comes in. status tells the units that are done, and the holder.
--user: as that user; WARM is a folder to make another data set in. A UserError is one line on stderr and exit code 2.
"""

from __future__ import annotations

import os
import sys

from factory.engine.run import Event, run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.store import lock
from factory.store.fs import open_files
from factory.store.status import status
from tests.support.seeded_stages import STAGES


def hold(job: JobSpec) -> None:
    lock.BEAT = 0.05
    with lock.hold(open_files(job.output), lambda text: print(text, flush=True)):
        print("held", flush=True)
        sys.stdin.readline()


def step(event: Event) -> None:
    if event.kind == "unit":
        print("unit", flush=True)
        sys.stdin.readline()


def become(user: str, group: str, mask: str, elsewhere: str) -> None:
    """Be another user, once all that a run imports is imported: it may lie where that user may not read."""
    run_job(job.model_copy(update={"output": elsewhere}), STAGES)
    os.setgroups([])
    os.setgid(int(group))
    os.setuid(int(user))
    os.umask(int(mask, 8))


if __name__ == "__main__":
    verb, job = sys.argv[1], JobSpec.model_validate_json(sys.argv[2])
    if sys.argv[3:]:
        become(*sys.argv[4:])
    try:
        if verb == "hold":
            hold(job)
        elif verb == "status":
            state = status(job.output)
            print(state.units_done, state.live)
        else:
            run_job(job, STAGES, step if verb == "step" else lambda event: None)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)

"""Kills a run before and after each single thing it does to the disk, resumes it, and compares: for test_kill.py.

A program of its own, because it forks once per kill and a test process has threads.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from factory.engine.run import run_job
from factory.job import JobSpec
from factory.store.status import status
from factory.store.verify import verify
from tests.support.files import folders, tree
from tests.support.forks import exit_code, import_as
from tests.support.seeded_stages import STAGES

OPERATIONS = ("replace", "remove", "rmdir", "mkdir", "fsync", "ftruncate")


def main(job: JobSpec) -> None:
    out = Path(job.output)
    import_as(lambda: record(job, out.with_suffix(".operations")))
    operations = out.with_suffix(".operations").read_text().split()
    whole = tree(out)
    assert verify(job.output).ok
    begun = 0
    for point, operation in enumerate(operations):
        for after in (False, True):
            shutil.rmtree(out)
            where = f"{'after' if after else 'before'} {operation}, number {point}"
            assert exit_code(lambda point=point, after=after: killed(job, point, after)) == -signal.SIGKILL, where
            if (out / "job.json").exists():
                begun += 1
                assert status(job.output).live is None, where
                assert verify(job.output).ok, f"{where}: {verify(job.output).problems}"
            assert exit_code(lambda: run_job(job, STAGES)) == 0, where
            assert tree(out) == whole and not folders(out), f"{where}: another data set"
    print(f"{2 * len(operations)} kills, {begun} in a begun data set, of {len(set(operations))} operations")


def watch(before: Callable[[str], None], after: Callable[[str], None]) -> None:
    """Call these around every operation that changes the disk."""
    for name in OPERATIONS:
        setattr(os, name, watched(name, getattr(os, name), before, after))


def watched(name: str, real: Callable, before: Callable[[str], None], after: Callable[[str], None]) -> Callable:
    def call(*args, **kwargs):
        before(name)
        try:
            return real(*args, **kwargs)
        finally:
            after(name)

    return call


def record(job: JobSpec, path: Path) -> None:
    seen: list[str] = []
    watch(seen.append, lambda name: None)
    run_job(job, STAGES)
    path.write_text(" ".join(seen))


def killed(job: JobSpec, point: int, after: bool) -> None:
    left = [point, point]

    def count(side: int) -> None:
        if left[side] == 0 and side == after:
            os.kill(os.getpid(), signal.SIGKILL)
        left[side] -= 1

    watch(lambda name: count(0), lambda name: count(1))
    run_job(job, STAGES)


if __name__ == "__main__":
    main(JobSpec.model_validate_json(sys.argv[1]))

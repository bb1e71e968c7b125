"""Kills a run half-way through each single upload, resumes it, and compares: for test_objects.py.

A program of its own, because it forks once per kill, and the library that uploads may not be forked: children use it.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from factory.engine.run import run_job
from factory.job import JobSpec
from factory.store import lock
from factory.store.verify import verify
from tests.support import s3
from tests.support.forks import exit_code, import_as
from tests.support.seeded_stages import STAGES


def main(job: JobSpec, url: str) -> None:
    lock.BEAT = 1e6  # no PUT but those of the work, whose number must not depend on time
    proxy = s3.Proxy(url)
    os.environ.update(s3.environment(proxy.url))
    import_as(lambda: (run_job(to(job, "first"), STAGES), check(to(job, "first").output)))
    whole, puts = made(job, proxy, url, "whole")
    for number in range(puts):
        out = f"killed{number}"
        proxy.puts, proxy.hold = 0, number
        proxy.held.clear()
        if not (child := os.fork()):
            run_job(to(job, out), STAGES)
            os._exit(0)
        while not proxy.held.wait(0.05):
            assert os.waitpid(child, os.WNOHANG) == (0, 0), f"PUT {number}: ended too early"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert made(job, proxy, url, out)[0] == whole, f"PUT {number}: another data set"
        assert not s3.unfinished(url), f"PUT {number}: left an upload open"
    print(f"{puts} kills")


def made(job: JobSpec, proxy: s3.Proxy, url: str, out: str) -> tuple[dict[str, bytes], int]:
    """What lies there after a run, and how many PUTs it took."""
    proxy.puts, proxy.hold = 0, None
    begin = time.monotonic()
    assert exit_code(lambda: run_job(to(job, out), STAGES)) == 0, out
    assert time.monotonic() - begin < 60, "it waited for a run that it could see was dead"
    puts = proxy.puts
    assert exit_code(lambda: check(to(job, out).output)) == 0, out
    found = s3.objects(url, out)
    assert found.pop(".lock") == b"" and found.pop("job.json")
    return found, puts


def check(out: str) -> None:
    report = verify(out)
    assert report.ok and report.complete, report.problems


def to(job: JobSpec, out: str) -> JobSpec:
    return job.model_copy(update={"output": f"s3://{s3.BUCKET}/{out}"})


if __name__ == "__main__":
    main(JobSpec.model_validate_json(sys.argv[1]), sys.argv[2])

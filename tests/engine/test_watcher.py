"""A worker that hangs is ended from outside, however it hangs; one that works is left in peace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

WORKER = """
import ctypes, os, signal, sys, time
from factory.engine import watcher
watched = watcher.Watched({seconds})
{does}
"""
HANGS = {
    "stopped in a unit": "with watched.unit(): os.kill(os.getpid(), signal.SIGSTOP)",
    "stopped between two units": "with watched.unit(): pass\nos.kill(os.getpid(), signal.SIGSTOP)",
    "in a library that holds the interpreter": "with watched.unit(): ctypes.PyDLL(None).sleep(1000)",
    "in Python": "with watched.unit(): time.sleep(1000)",
    "after other units": "for _ in range(3):\n    with watched.unit(): pass\nwith watched.unit(): time.sleep(1000)",
}
WORKS = {
    "many short units": "for _ in range(30):\n    with watched.unit(): time.sleep(0.1)",
    "a long rest": "time.sleep(4)",
    "a child holds the pipe": "if not os.fork(): time.sleep(1000)",
    "a watcher that was killed": "watched.process.kill()\nwatched.process.wait()\nwith watched.unit(): time.sleep(2)",
}


def worker(does: str, seconds: float) -> subprocess.Popen[str]:
    code = WORKER.format(seconds=seconds, does=does)
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)


@pytest.mark.parametrize("how", HANGS)
def test_a_worker_that_hangs_is_killed(how):
    with worker(HANGS[how], seconds=0.5) as process:
        assert process.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize("how", WORKS)
def test_a_worker_that_works_is_not(how):
    with worker(WORKS[how], seconds=1.5) as process:
        assert process.wait(60) == 0
        if "child" in how:
            os.killpg(process.pid, signal.SIGKILL)  # the child that it left


def test_the_watcher_goes_with_its_worker():
    does = "print(watched.process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    with worker(does, seconds=1.0) as process:
        assert process.stdout
        watcher = int(process.stdout.readline())
    pidfd = None
    try:
        pidfd = os.pidfd_open(watcher)
    except ProcessLookupError:
        return
    import select

    assert select.select([pidfd], [], [], 60)[0]

"""A worker that hangs is ended from outside, however it hangs; one that works is left in peace."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from tests.support.command import ROOT

pytestmark = pytest.mark.heavy(2)

WORKER = """
import ctypes, os, psutil, signal, sys, time
from factory.engine import watcher
os.environ["WATCHED"] = str(os.getpid())
watched = watcher.Watched({seconds})
[its] = [each for each in psutil.process_iter(["environ"])
         if (each.info["environ"] or {{}}).get("WATCHED") == str(os.getpid()) and each.pid != os.getpid()]
{does}
"""
HANGS = {
    "stopped in a unit": "with watched.unit(): os.kill(os.getpid(), signal.SIGSTOP)",
    "stopped between two units": "with watched.unit(): pass\nos.kill(os.getpid(), signal.SIGSTOP)",
    "in a library that holds the interpreter": "with watched.unit(): ctypes.PyDLL(None).sleep(1000)",
    "stopped after it has killed its children": "for child in psutil.Process().children(): child.kill()\n"
    "os.kill(os.getpid(), signal.SIGSTOP)",
    "in Python": "with watched.unit(): time.sleep(1000)",
    "after other units": "for _ in range(3):\n    with watched.unit(): pass\nwith watched.unit(): time.sleep(1000)",
}
WORKS = {
    "many short units": "for _ in range(30):\n    with watched.unit(): time.sleep(0.1)",
    "a long rest": "time.sleep(4)",
    "a child holds the pipe": "if not os.fork(): time.sleep(1000)",
    "a watcher that was killed": "its.kill()\nits.wait()\nwith watched.unit(): time.sleep(2)",
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
    does = "print(its.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    with worker(does, seconds=1.0) as process:
        assert process.stdout
        watcher = int(process.stdout.readline())
    try:
        pidfd = os.pidfd_open(watcher)
    except ProcessLookupError:
        return
    assert select.select([pidfd], [], [], 60)[0]

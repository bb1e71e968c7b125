"""Where the driver is ended without a word because of Ray, a process beside it says why; otherwise it says nothing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from tests.support.command import ROOT

pytestmark = pytest.mark.heavy(1)

# It ends its children as Ray's driver does: the kernel kills them when the thread that started them ends.
DRIVER = """
import ctypes, os, signal, subprocess, sys, threading, time
from factory.engine.witness import Witness

def tied():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)

def told(name):  # what the kernel tells of the witness
    return dict(line.split(":", 1) for line in open(f"/proc/{{its}}/status"))[name].split()[0]

def waits():
    return not int(told("SigBlk"), 16) & 1 << signal.SIGINT - 1 and told("State") == "S"

def sees():  # a heart die
    before = told("voluntary_ctxt_switches")
    hearts[0].kill()
    while told("voluntary_ctxt_switches") == before:  # it has looked, and waits again
        pass

hearts = [subprocess.Popen(["sleep", "1000"], preexec_fn=tied) for _ in range(2)]
with Witness() as witness:
    with witness.watch({{each.pid: f"error: heart {{i}} died ({{{{}}}})" for i, each in enumerate(hearts)}}):
        its = witness.process.pid
        while not waits():
            pass
        print(its, flush=True)
        {does}
    for heart in hearts:
        heart.kill()
        heart.wait()
"""
DUE = {
    "Ray ends the driver": "sees(); os._exit(1)",
    "Ray is no longer asked how its process ended": "sees(); hearts[0].wait(); os._exit(1)",
    "Ray aborts the driver": "sees(); os.abort()",
}
UNDUE = {
    "a normal end": "pass",
    "an exception": "raise ValueError",
    "exit code 1 of its own": "os._exit(1)",
    "kill -9 of the driver": "os.kill(os.getpid(), signal.SIGKILL)",
    "kill -9 of the driver with busy threads": "for _ in range(20): threading.Thread(target=time.sleep, args=[1000], "
    "daemon=True).start()\n        memory = b'1' * 300_000_000; os.kill(os.getpid(), signal.SIGKILL)",
    "kill -9 of the driver from a thread that goes on": "threading.Thread(target=lambda: os.kill(os.getpid(), "
    "signal.SIGKILL)).start(); time.sleep(1000)",
    "SIGTERM to the driver": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(1000)",
    "Ctrl-C in a terminal": "os.killpg(0, signal.SIGINT); time.sleep(1000)",
    "SIGTERM to the whole job": "os.killpg(0, signal.SIGTERM); time.sleep(1000)",
    "a lost terminal": "os.killpg(0, signal.SIGHUP); time.sleep(1000)",
    "kill -9 of the whole job": "os.killpg(0, signal.SIGKILL)",
    "a death that the driver tells of itself": "sees()",
}


def heed() -> None:
    """A process in the background is born deaf to Ctrl-C, one under nohup to a lost terminal."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def end(does: str) -> tuple[int, int, str]:
    """(exit code, process id of the witness, what stood on stderr) of a driver that does so."""
    command = [sys.executable, "-c", DRIVER.format(does=does)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, preexec_fn=heed, **pipes) as process:
        said, wrong = process.communicate(timeout=60)  # waits for all who hold the pipes
    return process.returncode, int(said), wrong


def ended(process: int) -> bool:
    try:
        return bool(select.select([os.pidfd_open(process)], [], [], 60)[0])
    except ProcessLookupError:
        return True


@pytest.mark.parametrize("how", DUE)
def test_one_line_when_ray_ends_the_driver(how):
    code, witness, wrong = end(DUE[how])
    assert code in (1, -signal.SIGABRT) and ended(witness)
    assert wrong in ("error: heart 0 died (signal 9)\n", "error: heart 0 died (nobody knows how)\n")


@pytest.mark.parametrize("how", UNDUE)
def test_nothing_when_anything_else_does(how):
    _, witness, wrong = end(UNDUE[how])
    assert "heart" not in wrong and ended(witness)
    assert not wrong or wrong.splitlines()[-1] in ("ValueError", "KeyboardInterrupt"), wrong


def test_a_terminal_gets_its_cursor_and_a_line_of_its_own(tmp_path):
    ours, its = os.openpty()
    command = [sys.executable, "-c", DRIVER.format(does="sees(); os._exit(1)")]
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=its, env=environment, timeout=60)
    assert select.select([ours], [], [], 60)[0]
    assert os.read(ours, 4096) == b"\x1b[?25h\r\nerror: heart 0 died (signal 9)\r\n"
    os.close(ours)
    os.close(its)

"""Kills a worker that hangs. A separate process, the watcher, does it.

A timer inside the worker would hang with it: after SIGSTOP, in a call of the kernel, or in a library that never
releases the interpreter. The watcher is this file, run as a script. The worker writes bytes into a pipe: the heartbeat.
The watcher kills a worker whose unit takes too long or whose heartbeat stops, and ends when its worker has ended. It is
not a child of its worker, because Ray's workers kill their children before they exit: a worker that hung after that
would stay for ever.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

BEGUN, IDLE, BUSY = b"u", b"i", b"."  # heartbeat: a unit begins; no unit is being computed; the unit goes on
QUIET = 10.0  # s; a heartbeat that is missing for less may be due to a busy machine


class Watched:
    """The worker's side. This process is killed when a unit takes longer than `seconds`, or when its heartbeat is
    missing for both `seconds` and QUIET."""

    def __init__(self, seconds: float) -> None:
        me, (reader, self.pipe) = os.pidfd_open(os.getpid()), os.pipe()
        command = [sys.executable, "-I", "-S", os.path.abspath(__file__), str(me), str(seconds)]
        # In a session of its own the watcher does not get the signals that a terminal sends to all its processes.
        subprocess.run(command, stdin=reader, pass_fds=[me], start_new_session=True, check=True)
        os.close(reader)
        os.close(me)
        os.set_blocking(self.pipe, False)  # or a full pipe, of a watcher that is stopped, would block the worker
        self.lock, self.state = threading.Lock(), IDLE
        threading.Thread(target=self._beat, args=(period(seconds),), daemon=True).start()

    @contextmanager
    def unit(self) -> Iterator[None]:
        """The block computes one unit."""
        self._tell(BEGUN, BUSY)
        try:
            yield
        finally:
            self._tell(IDLE, IDLE)

    def _beat(self, every: float) -> None:
        while True:
            time.sleep(every)
            self._tell()

    def _tell(self, word: bytes = b"", state: bytes = b"") -> None:
        with self.lock, contextlib.suppress(OSError):  # without the lock an old IDLE might be written after BEGUN
            self.state = state or self.state
            os.write(self.pipe, word or self.state)


def period(seconds: float) -> float:
    """Time between two heartbeats, s."""
    return min(5.0, seconds / 4)


def watch(worker: int, seconds: float) -> None:
    """Return when the worker has ended, or kill it when it is late or silent. worker: a pidfd. The heartbeat is read
    from stdin."""
    tick = period(seconds)
    patience = max(seconds, QUIET) / tick + 2  # in ticks: time in which both processes were frozen does not count
    silent, deadline = 0, float("inf")
    while silent < patience and time.monotonic() < deadline:
        ready = select.select([0, worker], [], [], min(tick, max(0.0, deadline - time.monotonic())))[0]
        if worker in ready:  # the end of the pipe would not show it: a child that the worker forked holds it open
            return
        if not ready:
            silent += 1
        elif not (words := os.read(0, 4096)):
            return
        else:
            silent = 0
            for word in words:
                if word == ord(BEGUN):
                    deadline = time.monotonic() + seconds
                elif word == ord(IDLE):
                    deadline = float("inf")
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(worker, signal.SIGKILL)


if __name__ == "__main__":
    if not os.fork():
        watch(int(sys.argv[1]), float(sys.argv[2]))

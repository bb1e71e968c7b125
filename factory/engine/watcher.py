"""Ends a worker that hangs, from a process of its own beside it.

A clock within the worker stops with it: by SIGSTOP, in the kernel, in a library that never lets go of the interpreter.
The watcher is this file run as a script. The worker writes signs of life into a pipe. The watcher kills a worker that
takes too long or is silent, and ends when its worker has ended. It is no child of its worker: Ray's workers kill their
children before they leave, and one that is stopped between the two would stay for ever.
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

BEGUN, IDLE, BUSY = b"u", b"i", b"."  # a unit begins; none is worked on; the one that had begun still is
QUIET = 10.0  # s without a sign of life, longer than a busy machine alone causes


class Watched:
    """In the worker. Its process is killed when a unit takes longer than `seconds`, and when it shows no life for so
    long (and for QUIET) while it works on none."""

    def __init__(self, seconds: float) -> None:
        me, (reader, self.pipe) = os.pidfd_open(os.getpid()), os.pipe()
        command = [sys.executable, "-I", "-S", os.path.abspath(__file__), str(me), str(seconds)]
        # In a session of its own it does not get what a terminal sends to all that run there.
        subprocess.run(command, stdin=reader, pass_fds=[me], start_new_session=True, check=True)
        os.close(reader)
        os.close(me)
        os.set_blocking(self.pipe, False)  # or a watcher that is stopped would stop its worker
        self.lock, self.state = threading.Lock(), IDLE
        threading.Thread(target=self._beat, args=(period(seconds),), daemon=True).start()

    @contextmanager
    def unit(self) -> Iterator[None]:
        """The block is one unit's work."""
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
        with self.lock, contextlib.suppress(OSError):  # the lock: or an old IDLE might come after BEGUN
            self.state = state or self.state
            os.write(self.pipe, word or self.state)


def period(seconds: float) -> float:
    """The time between two signs of life, s."""
    return min(5.0, seconds / 4)


def watch(worker: int, seconds: float) -> None:
    """Return when the worker, of which `worker` is a pidfd, has ended, or kill it when it is over time."""
    tick = period(seconds)
    patience = max(seconds, QUIET) / tick + 2  # in ticks: time in which both were frozen does not count
    silent, deadline = 0, float("inf")
    while silent < patience and time.monotonic() < deadline:
        ready = select.select([0, worker], [], [], min(tick, max(0.0, deadline - time.monotonic())))[0]
        if worker in ready:  # the pipe alone does not tell: a child that the worker has forked holds it open
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

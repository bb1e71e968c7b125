"""Stopping a run in order: Ctrl-C, SIGTERM (Slurm, Kubernetes, Ray) and a closed terminal all raise KeyboardInterrupt,
and never in the middle of a commit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ENDS = signal.SIGALRM  # sent to the main thread by `end`: nothing but a signal wakes it from a blocking call


class Stop:
    """Raises KeyboardInterrupt on the first signal: at once, or at the end of a block under `shield`. A second signal
    ends the process.

    `end` raises another error in the same way. It is for a thread that has found that the run cannot go on.
    """

    def __init__(self) -> None:
        self.shielded = self.asked = self.heeding = False
        self.error: Exception | None = None

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Handle the signals during the block. A signal that the process ignores (nohup, background) stays ignored."""
        if threading.current_thread() is not threading.main_thread():  # only there does Python take signals
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

        def stop(*_: object) -> None:
            for number in heeded:
                signal.signal(number, signal.SIG_DFL)
            self.asked = True
            if not self.shielded:
                raise KeyboardInterrupt

        def end(*_: object) -> None:
            if self.error and not self.shielded:
                raise self.error

        for number in heeded:
            signal.signal(number, stop)
        ends = signal.signal(ENDS, end)
        self.heeding = True
        try:
            yield
        finally:
            self.heeding = False
            signal.signal(ENDS, ends)
            for number in heeded:
                signal.signal(number, before[number])

    @contextmanager
    def error_first(self) -> Iterator[None]:
        """Let the block raise the error that was given to `end`, whatever other error follows from it."""
        try:
            yield
        except BaseException:
            if self.error:
                raise self.error from None
            raise

    def end(self, error: Exception) -> None:
        """Raise the error in the main thread, even if that waits in a call that never returns. For other threads."""
        self.error = error
        if self.heeding:
            signal.pthread_kill(threading.main_thread().ident or 0, ENDS)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Let the block finish before a signal or an error is raised."""
        self.shielded = True
        try:
            yield
        finally:
            self.shielded = False
        if self.error:
            raise self.error
        if self.asked:
            raise KeyboardInterrupt

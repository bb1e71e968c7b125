"""Ctrl-C, SIGTERM (Slurm, Kubernetes, Ray) and a lost terminal: one way to stop, and nothing left half-written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Raises KeyboardInterrupt on the first signal, at once or once unshielded. A second one ends the process."""

    def __init__(self) -> None:
        self.shielded = self.asked = False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Signals count for the block. What the process was told to ignore (nohup, background) stays ignored."""
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

        for number in heeded:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number in heeded:
                signal.signal(number, before[number])

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Finish the block first."""
        self.shielded = True
        try:
            yield
        finally:
            self.shielded = False
        if self.asked:
            raise KeyboardInterrupt

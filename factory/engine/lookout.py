"""A thread that watches a run: it reports what the run waits for when no unit is finished for long, and ends a run in
which no further unit can be finished."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from factory.errors import UserError

FIRST = 60.0  # s without a finished unit until the first message; each further message comes after twice the time
LONG = 3  # the first message comes no earlier than after this many times the time of the slowest unit so far
LOOK = 2.0  # s between two checks


class Lookout:
    """A context manager with a thread of its own. Call `progressed` after each finished unit.

    waits() returns one line on what the engine is doing. broken(since) returns the error that ends the run when no
    further unit can be finished, else None; `since` is when the last unit was finished, in s of time.time().
    tell(line) reports that the run waits. end(error) ends the run.
    """

    def __init__(
        self,
        waits: Callable[[], str],
        broken: Callable[[float], UserError | None],
        tell: Callable[[str], None],
        end: Callable[[UserError], None],
    ) -> None:
        self.waits, self.broken, self.tell, self.end = waits, broken, tell, end
        self.slowest, self.since, self.next = 0.0, time.time(), FIRST
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Lookout:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self.done.set()
        self.thread.join(LOOK)  # with a limit: the thread may hang together with the engine
        raised = isinstance(error, Exception | SystemExit) and not isinstance(error, UserError)  # Ray raises both
        if raised and (why := self.broken(self.since)):  # the engine raised before the thread's next check
            self.end(why)
            raise why from error

    def progressed(self) -> None:
        now = time.time()
        self.slowest, self.since = max(self.slowest, now - self.since), now
        self.next = max(FIRST, LONG * self.slowest)

    def _look(self) -> None:
        while not self.done.wait(LOOK):
            if error := self.broken(self.since):
                self.end(error)
                return
            waited = time.time() - self.since
            if waited >= self.next:
                self.next = 2 * waited
                clock = time.strftime("%H:%M:%S", time.localtime(self.since))
                self.tell(f"waiting: no unit finished since {clock}, {waited:.0f} s ago; {self.waits()}")

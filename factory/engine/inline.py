"""The engine without Ray: one process, one unit at a time, one stage after the other. Tests compare Ray's results with
its results."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from factory.engine.isolation import Isolation
from factory.engine.worker import Worker
from factory.job import JobSpec
from factory.plan import Plan
from factory.record import Record, Unit
from factory.stages.base import Halt, Stage
from factory.stages.sift import twin
from factory.store.part import Parts, pack


def compute(plan: Plan, stages: list[type[Stage]], ids: Iterable[tuple[int, int]]) -> Parts:
    """Yield (shard, index, part) for each (shard, index) in `ids`, in their order."""
    inline = Inline(stages, plan.job)
    for shard, index in ids:
        yield shard, index, pack(inline(plan.unit(shard, index)), plan.job)


class Inline(Isolation):
    """Runs the stages in this process. A worker that was interrupted because it took too long may be in any state, so
    the next attempt sets up a new one."""

    attempts_before = 1  # the unit has been tried once as a whole

    def __init__(self, stages: list[type[Stage]], job: JobSpec) -> None:
        super().__init__(stages, job)
        # A stage that recurs in several cycles is set up once.
        self.workers = {stage: Worker(stage, job) for stage in dict.fromkeys(stages)}

    def attempt(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        if stage not in self.workers:
            self.workers[stage] = Worker(stage, self.job)
        try:
            with _time_limit(self.job.max_unit_seconds):
                return self.workers[stage](Unit(0, 0, [twin(record) for record in records])).records
        except _TimeUp:
            del self.workers[stage]
            raise self.too_long() from None


class _TimeUp(Halt):
    """The stage took too long."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _TimeUp in the block once it has taken longer. A signal does it, which Python handles between two of its
    own instructions: a library that hangs is not interrupted. Outside the main thread, which alone receives signals,
    there is no limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def up(*_: object) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, up)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)

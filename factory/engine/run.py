"""From a job to a data set: find what is done, compute the rest, seal what is complete."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Literal

from factory.engine.failures import Failures
from factory.engine.lookout import Lookout
from factory.engine.stop import Stop
from factory.engine.worker import spec
from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import Plan, plan
from factory.record import Unit
from factory.stages.base import Stage
from factory.store.contents import made_from
from factory.store.ledger import Ledger, open_ledger, require_writable
from factory.store.part import Parts

Kind = Literal["waiting", "resumed", "unit", "sealed", "isolating"]
NONE: Counter[str] = Counter()


@dataclass(frozen=True)
class Event:
    """Something happened. `states` and `reasons` count the event's own records, so that a listener may add them up.

    `waiting` is sent first if another run may still hold the output, and later whenever no unit was finished for some
    time; then it comes from another thread, though never during another event. Otherwise `resumed` is the first event
    of every run, with what earlier runs have done. `unit`: a unit was committed. `sealed`: a shard was sealed.
    `isolating`: a unit's workers died, so its records are now tried alone; its `unit` event follows.
    """

    kind: Kind
    message: str  # one line for a log
    total_records: int
    total_units: int
    units: int = 0
    records: int = 0
    states: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)  # of the rejected


@dataclass(frozen=True)
class Summary:
    """What the data set holds now; states and reasons of all of it."""

    output: str
    planned: int
    units_found: int
    units_done: int  # 0: there was nothing to do
    shards: int
    states: dict[str, int]
    reasons: dict[str, int]
    seconds: float


def run(
    job: JobSpec | Plan, stages: list[type[Stage]] | None = None, on_event: Callable[[Event], None] = lambda event: None
) -> Summary:
    """Make the job's data set, or what is missing of it. A plan of it saves listing its images again.

    UserError where that cannot be, before anything is touched, or where too many records fail. KeyboardInterrupt on
    Ctrl-C or SIGTERM: what was finished is kept, units in flight are given up.
    """
    begin, planned = time.monotonic(), job if isinstance(job, Plan) else plan(job)
    job = planned.job  # it may have left the number of records to its images
    stages = stages or default_stages(job)
    contents = made_from(planned)
    missing = require_writable(job, planned, contents)
    stop = Stop()
    with stop.error_first(), ExitStack() as stack:
        if job.engine == "ray" and missing:
            from factory.engine.session import session

            stack.enter_context(session(job, stages))  # before the output is touched: it may refuse
        stack.enter_context(stop.heeded())  # after Ray, which takes SIGTERM for itself

        lock = threading.Lock()  # a lookout sends events from a thread of its own

        def tell(kind: Kind, message: str, units: int = 0, states: Counter = NONE, reasons: Counter = NONE) -> None:
            count = planned.records, planned.units, units, states.total()
            with lock:
                on_event(Event(kind, message, *count, dict(states), dict(reasons)))

        ledger = stack.enter_context(open_ledger(job, planned, contents, partial(tell, "waiting")))
        left = planned.units - ledger.units_found
        tell("resumed", _resumed(ledger, left), ledger.units_found, ledger.states, ledger.reasons)
        isolating, failures = partial(tell, "isolating"), Failures(job)
        if left:  # leaving the loop closes the engine before the session ends its Ray
            parts = stack.enter_context(closing(_compute(planned, stages, ledger.missing(), isolating)))
            lookout = stack.enter_context(Lookout(*_health(job, stages), partial(tell, "waiting"), stop.end))
            for shard, index, part in parts:
                lookout.progressed()
                with stop.shield():
                    states, reasons = ledger.commit(shard, index, part)
                    tell("unit", f"unit {index} of shard {shard} done", 1, states, reasons)
                    if ledger.seal(shard):
                        tell("sealed", f"shard {planned.shard_name(shard)} sealed")
                failures.watch(states, part)
    return Summary(
        job.output, planned.records, ledger.units_found, left, planned.shards,
        dict(ledger.states), dict(ledger.reasons), time.monotonic() - begin,
    )  # fmt: skip


def default_stages(job: JobSpec) -> list[type[Stage]]:
    """The method's four, and the one that measures what they made unless the job does without."""
    from factory.stages.estimate import Estimate
    from factory.stages.generate import Generate
    from factory.stages.refine import Refine
    from factory.stages.render import Render
    from factory.stages.score import Score

    return [Generate, *[Estimate, Render, Refine] * job.cycles, *([Score] if job.stages.score.enabled else [])]


def _compute(
    planned: Plan, stages: list[type[Stage]], ids: Iterator[tuple[int, int]], isolating: Callable[[str], None]
) -> Parts:
    if planned.job.engine == "ray":
        from factory.engine import cluster

        return cluster.compute(planned, stages, ids, lambda unit: isolating(_isolating(unit)))
    from factory.engine import inline
    from factory.engine.scratch import sweep

    sweep()  # a run on Ray that was killed may have left something
    return inline.compute(planned, stages, ids)


def _health(job: JobSpec, stages: list[type[Stage]]) -> tuple[Callable[[], str], Callable[[float], UserError | None]]:
    """What a lookout asks of the engine."""
    if job.engine == "inline":
        return lambda: "one unit after the other in this process", lambda since: None
    from factory.engine.health import Health

    health = Health(sum(spec(stage, job).workers for stage in stages))
    return health.waits, health.broken


def _resumed(ledger: Ledger, left: int) -> str:
    if not ledger.units_found:
        return f"{left} units to do"
    if not left:
        return f"all {ledger.units_found} units are done"
    names = ", ".join(f"{shard}/{index}" for shard, index in islice(ledger.missing(), 8)) + ", ..." * (left > 8)
    found = f"{ledger.units_found} of {ledger.plan.units} units found"
    return f"resumed: {found}; doing the other {left} (shard/unit {names})"


def _isolating(unit: Unit) -> str:
    return f"unit {unit.index} of shard {unit.shard} killed its workers: redoing it alone to find the record"

"""`run` makes the data set of a job: it finds the units that are done, computes the others and seals complete
shards."""

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
    """What a run reports to its listener. `states` and `reasons` count the records of this event alone, so that a
    listener may add them up.

    `waiting` is sent first if another run may still hold the output. Otherwise `resumed` is the first event of every
    run; it counts what earlier runs have done. `waiting` is also sent, from another thread, when no unit was finished
    for some time; two events never overlap. `unit`: a unit was committed. `sealed`: a shard was sealed. `isolating`: a
    unit's workers died, so its records are now tried alone; its `unit` event follows.
    """

    kind: Kind
    message: str  # one line for a log
    total_records: int
    total_units: int
    units: int = 0
    records: int = 0
    states: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)  # reason -> rejected records


@dataclass(frozen=True)
class RunSummary:
    """What the data set holds at the end of a run. states, reasons: of all its records, those of earlier runs too."""

    output: str
    planned: int
    units_found: int
    units_done: int  # 0: there was nothing to do
    shards: int
    states: dict[str, int]
    reasons: dict[str, int]
    seconds: float


def run_job(
    job: JobSpec | Plan, stages: list[type[Stage]] | None = None, on_event: Callable[[Event], None] = lambda event: None
) -> RunSummary:
    """Make the job's data set, or what is missing of it. Given a plan instead of the job, its images are not listed
    again.

    UserError, before anything is written, when the job cannot run here; also when too many records fail.
    KeyboardInterrupt on Ctrl-C or SIGTERM: finished units are kept, units in progress are given up.
    """
    begin, planned = time.monotonic(), job if isinstance(job, Plan) else plan(job)
    job = planned.job  # the plan has filled in the number of records when the job leaves it to its images
    stages = stages or default_stages(job)
    contents = made_from(planned)
    missing = require_writable(job, planned, contents)
    stop = Stop()
    with stop.error_first(), ExitStack() as stack:
        if job.engine == "ray" and missing:
            from factory.engine.session import session

            stack.enter_context(session(job, stages))  # first, because it may refuse the job
        stack.enter_context(stop.heeded())  # after Ray's start, which installs its own handler of SIGTERM

        lock = threading.Lock()  # the lookout sends events from a thread of its own

        def tell(
            kind: Kind, message: str, units: int = 0, states: Counter[str] = NONE, reasons: Counter[str] = NONE
        ) -> None:
            count = planned.records, planned.units, units, states.total()
            with lock:
                on_event(Event(kind, message, *count, dict(states), dict(reasons)))

        ledger = stack.enter_context(open_ledger(job, planned, contents, partial(tell, "waiting")))
        left = planned.units - ledger.units_found
        tell("resumed", _resumed(ledger, left), ledger.units_found, ledger.states, ledger.reasons)
        isolating, failures = partial(tell, "isolating"), Failures(job)
        if left:  # `closing` ends the engine before the session ends its Ray
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
    return RunSummary(
        job.output, planned.records, ledger.units_found, left, planned.shards,
        dict(ledger.states), dict(ledger.reasons), time.monotonic() - begin,
    )  # fmt: skip


def default_stages(job: JobSpec) -> list[type[Stage]]:
    """The stages of a job in order: generate, then estimate, render and refine once per cycle, and score unless the job
    disables it."""
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

    sweep()  # of a run on Ray that was killed, the temporary folder may be left
    return inline.compute(planned, stages, ids)


def _health(job: JobSpec, stages: list[type[Stage]]) -> tuple[Callable[[], str], Callable[[float], UserError | None]]:
    """(waits, broken) of the engine, as `Lookout` takes them."""
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

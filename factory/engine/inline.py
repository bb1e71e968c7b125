"""One process, one unit at a time, the stages in a row: the oracle that the other engine is held against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from factory.engine.worker import Worker
from factory.plan import Plan
from factory.stages.base import Stage
from factory.store.part import Part, pack


def compute(plan: Plan, stages: list[type[Stage]], ids: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, Part]]:
    """(shard, index, part) of each unit asked for."""
    workers = {stage: Worker(stage, plan.job) for stage in dict.fromkeys(stages)}  # cycles share them
    for shard, index in ids:
        unit = plan.unit(shard, index)
        for stage in stages:
            unit = workers[stage](unit)
        yield shard, index, pack(unit, plan.job)

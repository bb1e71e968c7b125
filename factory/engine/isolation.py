"""Finds the record that kills its worker: the records of a unit are tried alone, and those that kill a worker have
failed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from factory.job import JobSpec
from factory.record import Record, State, Unit
from factory.stages.base import Stage
from factory.stages.sift import sift

TRIES = 2  # a record that kills this many workers while it runs alone has failed; one worker may die by its machine


class WorkerLost(Exception):
    """The worker died, or was killed, while it computed the records."""


class Isolation(ABC):
    """Takes a unit through the stages as one batch; in a stage where that loses the worker, record by record."""

    attempts_before: ClassVar[int]  # times that a record has been tried, with its unit, before it is tried alone

    def __init__(self, stages: list[type[Stage]], job: JobSpec) -> None:
        self.stages, self.job = stages, job

    @abstractmethod
    def attempt(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        """The records one stage further, in their order. Raises WorkerLost and leaves `records` as they were; the next
        attempt gets another worker."""

    def __call__(self, unit: Unit) -> Unit:
        records = unit.records
        for stage in self.stages:
            try:
                records = self.attempt(stage, records)
                continue
            except WorkerLost:  # the handler ends before the sifting: the traceback keeps the lost worker's memory
                pass
            sifted = iter(self._sift(stage, [record for record in records if record.active]))
            records = [next(sifted) if record.active else record for record in records]
        return Unit(unit.shard, unit.index, records)

    def _sift(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        lost = f"{WorkerLost.__name__}: "
        done = sift(records, lambda some: self._alone(stage, some), stage.name)
        for record in done:
            if record.state is State.FAILED and record.error.startswith(lost):
                record.error, record.attempts = record.error.removeprefix(lost), self.attempts_before + TRIES
        return done

    def _alone(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        """The records one stage further. Raises WorkerLost once TRIES workers have been lost with them."""
        for _ in range(TRIES - 1):
            try:
                return self.attempt(stage, records)
            except WorkerLost:
                pass
        return self.attempt(stage, records)

    def too_long(self) -> WorkerLost:
        return WorkerLost(f"took longer than {self.job.max_unit_seconds:g} s")

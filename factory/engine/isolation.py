"""A unit that ended its worker, taken through the stages with care: the record that did it is found and fails alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from factory.job import JobSpec
from factory.record import Record, State, Unit
from factory.stages.base import Stage
from factory.stages.sift import sift

TRIES = 2  # one worker may end because of its machine; a record that ends two workers while it runs alone has failed


class WorkerLost(Exception):
    """The records ended their worker."""


class Isolation(ABC):
    """Takes a unit through the stages, in batches that get smaller where a worker is lost."""

    attempts_before: ClassVar[int]  # how often a record has been tried before it is tried alone

    def __init__(self, stages: list[type[Stage]], job: JobSpec) -> None:
        self.stages, self.job = stages, job

    @abstractmethod
    def attempt(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        """The records one stage further. Raises WorkerLost, all untouched; the next attempt has another worker."""

    def __call__(self, unit: Unit) -> Unit:
        records = unit.records
        for stage in self.stages:
            try:
                records = self.attempt(stage, records)
                continue
            except WorkerLost:  # left before the sifting: it holds what the lost worker held
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
        """The records one stage further; raises WorkerLost where that ended one worker after the other."""
        for _ in range(TRIES - 1):
            try:
                return self.attempt(stage, records)
            except WorkerLost:
                pass
        return self.attempt(stage, records)

    def too_long(self) -> WorkerLost:
        return WorkerLost(f"took longer than {self.job.max_unit_seconds:g} s")

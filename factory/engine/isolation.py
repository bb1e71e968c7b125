"""Units that Ray gave up, one after the other and each with workers of its own: the record that ends its worker is
found and fails alone."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from factory.engine.worker import Worker, spec
from factory.errors import UserError
from factory.job import JobSpec
from factory.record import Record, State, Unit
from factory.stages.base import Stage
from factory.stages.sift import sift

TRIES = 2  # a worker may die of its machine; who ends two workers all alone is guilty
STREAMED = 3  # twice in the stream, once with its unit


class WorkerLost(Exception):
    """The records ended their worker."""


class Isolation:
    """Takes a unit through the stages. A context: its workers end with it."""

    def __init__(self, stages: list[type[Stage]], job: JobSpec) -> None:
        self.stages, self.job = stages, job
        self.actors: dict[type[Stage], Any] = {}

    def __enter__(self) -> Isolation:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for actor in self.actors.values():
            ray.kill(actor)

    def __call__(self, unit: Unit) -> Unit:
        records = unit.records
        for stage in self.stages:
            try:
                records = self._attempt(stage, records)
            except WorkerLost:
                sifted = iter(self._sift(stage, [record for record in records if record.active]))
                records = [next(sifted) if record.active else record for record in records]
        return Unit(unit.shard, unit.index, records)

    def _sift(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        lost = f"{WorkerLost.__name__}: "
        done = sift(records, lambda some: self._alone(stage, some), stage.name)
        for record in done:
            if record.state is State.FAILED and record.error.startswith(lost):
                record.error, record.attempts = record.error.removeprefix(lost), STREAMED + TRIES
        return done

    def _alone(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        """The records one stage further; raises WorkerLost where that ended one worker after the other."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(WorkerLost):
                return self._attempt(stage, records)
        return self._attempt(stage, records)

    def _attempt(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        import ray

        if stage not in self.actors:
            self.actors[stage] = self._start(stage)
        task = self.actors[stage].run.remote(Unit(0, 0, records).to_bytes())
        try:
            return Unit.from_bytes(ray.get(task, timeout=self.job.max_unit_seconds)).records
        except ray.exceptions.GetTimeoutError:
            ray.kill(self.actors.pop(stage))
            raise WorkerLost(f"took longer than {self.job.max_unit_seconds:g} s") from None
        except ray.exceptions.RayActorError:
            del self.actors[stage]
            raise WorkerLost("its worker died") from None

    def _start(self, stage: type[Stage]) -> Any:
        """A worker that is set up. Setting up is no record's fault, so it may take its time."""
        import ray

        host = spec(stage, self.job)
        for left in reversed(range(TRIES)):
            remote: Any = ray.remote(num_cpus=host.cpus, num_gpus=host.gpus)(IsolatedActor)
            actor = remote.remote(stage, self.job)
            try:
                ray.get(actor.ready.remote())
                return actor
            except ray.exceptions.RayActorError as error:
                if not left:
                    raise setup_error(error) from error


class IsolatedActor:
    """What Ray hosts."""

    def __init__(self, stage: type[Stage], job: JobSpec) -> None:
        self.worker = Worker(stage, job)

    def ready(self) -> None: ...

    def run(self, data: bytes) -> bytes:
        unit = self.worker(Unit.from_bytes(data))
        if self.worker.broken(unit):
            os._exit(1)
        return unit.to_bytes()


def setup_error(error: Exception) -> Exception:
    """What the stage's setup raised; Ray hands over its text alone."""
    last = str(error).rstrip().splitlines()[-1]
    ours = f"{UserError.__module__}.{UserError.__qualname__}: "
    if last.startswith(ours):
        return UserError(last.removeprefix(ours))
    return RuntimeError(f"a worker cannot start: {last}")

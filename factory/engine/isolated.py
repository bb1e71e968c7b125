"""Isolation on Ray: units that Ray Data has dropped are computed one after the other, in actors of their own."""

from __future__ import annotations

import os
from typing import Any

from factory.engine.health import memory
from factory.engine.isolation import TRIES, Isolation, WorkerLost
from factory.engine.worker import Worker, spec
from factory.errors import UserError
from factory.job import JobSpec
from factory.record import Record, Unit
from factory.stages.base import Stage


class Isolated(Isolation):
    """Runs each stage in an actor. A context manager: its actors are killed at the end."""

    attempts_before = 3  # the unit has been tried twice in the stream and once as a whole in isolation

    def __init__(self, stages: list[type[Stage]], job: JobSpec) -> None:
        super().__init__(stages, job)
        self.actors: dict[type[Stage], Any] = {}

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for actor in self.actors.values():
            ray.kill(actor)

    def attempt(self, stage: type[Stage], records: list[Record]) -> list[Record]:
        import ray

        if stage not in self.actors:
            self.actors[stage] = self._start(stage)
        task = self.actors[stage].run.remote(Unit(0, 0, records).to_bytes())
        try:
            return Unit.from_bytes(ray.get(task, timeout=self.job.max_unit_seconds)).records
        except ray.exceptions.GetTimeoutError:
            ray.kill(self.actors.pop(stage))
            raise self.too_long() from None
        except ray.exceptions.OutOfMemoryError:
            ray.kill(self.actors.pop(stage))
            raise WorkerLost("its worker was killed because its node is short of memory") from None
        except ray.exceptions.RayActorError:
            del self.actors[stage]
            raise WorkerLost("its worker died") from None

    def _start(self, stage: type[Stage]) -> Any:
        """An actor whose stage is set up. There is no time limit, because no record can be blamed for a slow setup."""
        import ray

        host = spec(stage, self.job)
        for left in reversed(range(TRIES)):
            remote: Any = ray.remote(num_cpus=host.cpus, num_gpus=host.gpus)(IsolatedActor)
            actor = remote.remote(stage, self.job)
            try:
                ray.get(actor.ready.remote())
                return actor
            except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
                if not left:
                    raise setup_error(error) from error


class IsolatedActor:
    """The actor that hosts one stage for `Isolated`."""

    def __init__(self, stage: type[Stage], job: JobSpec) -> None:
        self.worker = Worker(stage, job)

    def ready(self) -> None: ...

    def run(self, data: bytes) -> bytes:
        unit = self.worker(Unit.from_bytes(data))
        if self.worker.broken(unit):
            os._exit(1)
        return unit.to_bytes()


def setup_error(error: Exception) -> Exception:
    """The error that a stage's setup raised in its actor, made anew from its text: Ray passes on no more."""
    if "low on memory" in str(error):
        return UserError(f"engine: memory is short: Ray has killed workers while they started ({memory(str(error))})")
    last = str(error).rstrip().splitlines()[-1]
    ours = f"{UserError.__module__}.{UserError.__qualname__}: "
    if last.startswith(ours):
        return UserError(last.removeprefix(ours))
    return RuntimeError(f"a worker cannot start: {last}")

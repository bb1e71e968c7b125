"""A stage in the process that runs it, the same under every engine."""

from __future__ import annotations

import sys

from factory.errors import UserError
from factory.job import JobSpec, Workers
from factory.record import State, Unit
from factory.stages.base import Stage


class Worker:
    """The stage, set up. Calling it takes the unit one stage further."""

    def __init__(self, stage: type[Stage], job: JobSpec) -> None:
        self.stage = stage(job)
        self.threads = max(1, int(spec(stage, job).cpus))
        try:
            self(Unit(0, 0, []))  # sets the stage up
        except UserError:
            raise
        except Exception as error:  # each library has its own way to say that a file is not a model
            raise UserError(f"stages.{stage.name} cannot start: {type(error).__name__}: {error}") from error

    def __call__(self, unit: Unit) -> Unit:
        if torch := sys.modules.get("torch"):  # the number of threads is part of the result: it orders the sums
            torch.set_num_threads(self.threads)
        return self.stage(unit)

    def broken(self, unit: Unit) -> bool:
        """Whether this process can compute no more: after some errors a CUDA context fails every call, and would fail
        every record to come."""
        torch = sys.modules.get("torch")
        if not torch or not torch.cuda.is_initialized() or all(r.state is not State.FAILED for r in unit.records):
            return False
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return True
        return False


def spec(stage: type[Stage], job: JobSpec) -> Workers:
    """How the job hosts the stage."""
    return getattr(job.stages, stage.name)

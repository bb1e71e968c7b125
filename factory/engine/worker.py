"""A stage in the process that runs it, the same under every engine."""

from __future__ import annotations

import re
import sys

from factory.errors import UserError
from factory.job import JobSpec, WorkersSpec
from factory.record import State, Unit
from factory.stages.base import Stage

# How PyTorch and the dynamic linker say that the system or the GPU has given them no memory.
REFUSED = re.compile("can't allocate memory|CUDA out of memory|failed to map segment|Cannot allocate memory")


class Worker:
    """The stage, set up. Calling it takes the unit one stage further."""

    def __init__(self, stage: type[Stage], job: JobSpec) -> None:
        self.stage = stage(job)
        self.threads = max(1, int(spec(stage, job).cpus))
        try:
            self(Unit(0, 0, []))  # sets the stage up
        except Exception as error:  # each library has its own way to say that a file is not a model
            if _out_of_memory(error):
                raise UserError(
                    f"stages.{stage.name} cannot start: there is not enough memory for its models; free some, or give "
                    "them another machine"
                ) from error
            if isinstance(error, UserError):
                raise
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


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, says so: a loader may have taken it for a fault of the file."""
    while error is not None:
        if isinstance(error, MemoryError) or REFUSED.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def spec(stage: type[Stage], job: JobSpec) -> WorkersSpec:
    """How the job hosts the stage."""
    return getattr(job.stages, stage.name)

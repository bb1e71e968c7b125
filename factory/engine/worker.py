"""A stage that is set up in the process that runs it; the same class under both engines."""

from __future__ import annotations

import re
import sys

from factory.errors import UserError
from factory.job import JobSpec
from factory.job_stages import WorkersSpec
from factory.record import State, Unit
from factory.stages.base import Stage

# What PyTorch and the dynamic linker say when the system or the GPU refuses them memory.
REFUSED = re.compile("can't allocate memory|CUDA out of memory|failed to map segment|Cannot allocate memory")


class Worker:
    """A stage, set up. Calling it takes a unit one stage further. UserError when it cannot be set up."""

    def __init__(self, stage: type[Stage], job: JobSpec) -> None:
        self.stage = stage(job)
        self.threads = max(1, int(spec(stage, job).cpus))
        try:
            self(Unit(0, 0, []))  # sets the stage up
        except Exception as error:  # each library raises its own errors for a file that is no model
            if _out_of_memory(error):
                raise UserError(
                    f"stages.{stage.name} cannot start: there is not enough memory for its models; free some, or give "
                    "them another machine"
                ) from error
            if isinstance(error, UserError):
                raise
            raise UserError(f"stages.{stage.name} cannot start: {type(error).__name__}: {error}") from error

    def __call__(self, unit: Unit) -> Unit:
        if torch := sys.modules.get("torch"):  # the order of sums, and so the result, follows the number of threads
            torch.set_num_threads(self.threads)
        return self.stage(unit)

    def broken(self, unit: Unit) -> bool:
        """Whether this process can no longer compute: after some errors a CUDA context fails every call, so that every
        later record would fail too."""
        torch = sys.modules.get("torch")
        if not torch or not torch.cuda.is_initialized() or all(r.state is not State.FAILED for r in unit.records):
            return False
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return True
        return False


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or one in its chain of causes, says that memory is short. A loader may have raised an error
    about the file instead."""
    while error is not None:
        if isinstance(error, MemoryError) or REFUSED.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def spec(stage: type[Stage], job: JobSpec) -> WorkersSpec:
    """The job's settings of the stage: how many workers it has and what each of them holds."""
    return getattr(job.stages, stage.name)

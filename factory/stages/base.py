"""What a stage is: set up once, then unit in, unit out. A stage knows no engine and no storage."""

from __future__ import annotations

import gc
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from factory.job import JobSpec
from factory.record import Record, Unit
from factory.stages.sift import sift, twin


class Halt(BaseException):
    """What an engine raises in a stage to end it. No stage takes it for a record's fault."""


@contextmanager
def fenced() -> Iterator[None]:
    """What a library raises to end its process is an exception like any other in the block: SystemExit of `sys.exit`,
    asyncio's cancellation, a panic of code in Rust. They are no `Exception`, so the code that catches the errors of
    records would miss them. KeyboardInterrupt stays as it is."""
    try:
        yield
    except (Exception, KeyboardInterrupt, Halt):
        raise
    except BaseException as error:
        name = "it called sys.exit" if isinstance(error, SystemExit) else type(error).__name__
        raise RuntimeError(f"{name}({error})") from error


class Stage(ABC):
    """One step of the method. Subclasses load models in `setup` and fill records in place in `process`."""

    name: ClassVar[str]

    def __init__(self, job: JobSpec) -> None:
        self.job = job
        self._ready = False

    @abstractmethod
    def setup(self) -> None:
        """Load what is heavy. Called once, in the process that does the work."""

    @abstractmethod
    def process(self, records: list[Record]) -> None:
        """Fill the records in place, or reject them. May raise: see `__call__`."""

    def __call__(self, unit: Unit) -> Unit:
        """Run on the unit's active records. What raises fails one record only; a batch too large for the memory is
        done in halves."""
        if not self._ready:
            with fenced():
                self.setup()
            self._ready = True
        active = unit.active
        if not active:
            return unit
        try:
            done = self._attempt(active)
        except Exception:
            done = sift(active, self._attempt, self.name)
        for record, result in zip(active, done, strict=True):
            vars(record).update(vars(result))
        return unit

    def _attempt(self, records: list[Record]) -> list[Record]:
        """The records one stage further, as copies: what raises leaves them as they were."""
        copies = [twin(record) for record in records]
        try:
            with fenced():
                self.process(copies)
            return copies
        except Exception as error:
            if len(records) == 1 or not _out_of_memory(error):
                raise
        _free()  # out of the handler: the traceback held what filled the memory
        half = len(records) // 2
        return self._attempt(records[:half]) + self._attempt(records[half:])


def _out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def _free() -> None:
    gc.collect()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.empty_cache()

"""What a stage is: set up once, then unit in, unit out. A stage knows no engine and no storage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from factory.job import JobSpec
from factory.record import Record, Unit


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
        """Run on the unit's active records. An exception fails one record only: the batch is redone one by one."""
        if not self._ready:
            self.setup()
            self._ready = True
        active = unit.active
        if not active:
            return unit
        try:
            self.process(active)
        except Exception:
            for record in active:
                try:
                    if record.active:
                        self.process([record])
                except Exception as error:
                    record.fail(error, self.name)
        return unit

"""The seeded stages, slower by a little, each call told beside the output; and those that go wrong.

What goes wrong strikes one record, which follows from the job's seed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

import numpy as np

from factory.errors import UserError
from factory.job import JobSpec
from factory.record import Record
from factory.stages.base import Stage
from tests.support import seeded_stages

WORK = 0.02  # s a unit


def guilty(job: JobSpec) -> str:
    """Key of the record that goes wrong: one that reaches the stage `render` and does not fail there anyway."""
    number = job.seed % job.records
    while number % 5 == 4 or number == 7:
        number = (number + 1) % job.records
    return f"{job.name}-{number:08d}"


def calls(job: JobSpec) -> Path:
    return Path(job.output + ".calls")


class Told:
    """Leaves a file named after its process, so that somebody may kill that."""

    job: JobSpec

    def process(self, records: list[Record]) -> None:
        calls(self.job).mkdir(exist_ok=True)
        (calls(self.job) / str(os.getpid())).touch()
        time.sleep(WORK)
        super().process(records)  # type: ignore[misc]


class Draw(Told, seeded_stages.Draw): ...


class People(Told, seeded_stages.People): ...


class Depth(Told, seeded_stages.Depth): ...


class Finish(Told, seeded_stages.Finish): ...


class Raises(Depth):
    def process(self, records: list[Record]) -> None:
        if any(record.key == guilty(self.job) for record in records):
            raise ArithmeticError("guilty")
        super().process(records)


class Kills(Depth):
    def process(self, records: list[Record]) -> None:
        if any(record.key == guilty(self.job) for record in records):
            os.kill(os.getpid(), signal.SIGKILL)
        super().process(records)


class Hangs(Depth):
    """In a library that does not let go of the interpreter."""

    def process(self, records: list[Record]) -> None:
        if any(record.key == guilty(self.job) for record in records):
            ctypes.PyDLL(None).sleep(1000)
        super().process(records)


class Short(Depth):
    """Of memory: whatever is more than one record."""

    def process(self, records: list[Record]) -> None:
        if len(records) > 1:
            raise MemoryError("too large a batch")
        super().process(records)


class Missing(Depth):
    """Its model does not load until somebody has put it there."""

    def setup(self) -> None:
        if not Path(self.job.output + ".model").exists():
            raise UserError("stages.render: no such model")


class Mended(seeded_stages.Depth):
    """Fails no record."""

    def process(self, records: list[Record]) -> None:
        for record in records:
            assert record.initial is not None
            record.depth = record.initial[..., 0].astype(np.float32)


def line(depth: type[Stage]) -> list[type[Stage]]:
    return [Draw, People, depth, Finish]


LINES = {kind.__name__: line(kind) for kind in (Depth, Raises, Kills, Hangs, Short, Missing)}
LINES |= {
    "Plain": seeded_stages.STAGES,
    "Mended": [seeded_stages.Draw, seeded_stages.People, Mended, seeded_stages.Finish],
}  # tell no calls

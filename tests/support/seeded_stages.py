"""Real stages that need no model: each record is drawn from its seed, some are rejected, one raises, one kills."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from factory.record import Person, Reason, Record
from factory.stages.base import Stage

SHAPES: dict[str, int | tuple[int, ...]] = {
    "global_orient": 3, "body_pose": 69, "betas": 10, "transl": 3, "K": (3, 3), "camera": 3, "crop": 3,
    "joints2d": (49, 3), "joints3d": (49, 4), "bbox": 4,
}  # fmt: skip


class Draw(Stage):
    name = "generate"

    def setup(self) -> None: ...

    def process(self, records: list[Record]) -> None:
        for record in records:
            size = self.job.image_size
            record.initial = random_of(record, 1).integers(0, 256, (size, size, 3), np.uint8)


class People(Stage):
    """Rejects every fifth record; every third has two people."""

    name = "estimate"

    def setup(self) -> None: ...

    def process(self, records: list[Record]) -> None:
        for record in records:
            size, number, random = self.job.image_size, int(record.key[-8:]), random_of(record, 2)
            record.person_mask, record.object_mask = random.random((2, size, size)) > 0.5
            if number % 5 == 4:
                record.reject(Reason.EASY, self.name)
                continue
            for _ in range(2 if number % 3 == 0 else 1):
                record.people.append(Person(**{name: random.normal(size=shape) for name, shape in SHAPES.items()}))
            record.measure(pose_score=random.normal())


class Depth(Stage):
    """Raises on record 7."""

    name = "render"

    def setup(self) -> None: ...

    def process(self, records: list[Record]) -> None:
        for record in records:
            if record.key.endswith("00000007"):
                raise ArithmeticError("seven\nis odd")
            record.depth = random_of(record, 3).random((self.job.image_size,) * 2, np.float32)


class Finish(Stage):
    name = "refine"

    def setup(self) -> None: ...

    def process(self, records: list[Record]) -> None:
        for record in records:
            record.final, record.refined = 255 - record.initial, True


class Mended(Depth):
    """Depth without its fault on record 7."""

    def process(self, records):
        for record in records:
            if record.key.endswith("00000007"):
                record.depth = record.initial[..., 0] / 1
            else:
                super().process([record])


class Poison(Depth):
    """Record 5 kills its process, the others of its unit are innocent."""

    def process(self, records: list[Record]) -> None:
        if any(record.key.endswith("00000005") for record in records):
            os.kill(os.getpid(), signal.SIGKILL)
        super().process(records)


class Hang(Depth):
    """Record 5 never ends, and holds on to the interpreter while it does."""

    def process(self, records: list[Record]) -> None:
        if any(record.key.endswith("00000005") for record in records):
            ctypes.PyDLL(None).sleep(1000)
        super().process(records)


class Stops(Depth):
    """Record 5 stops its process, as a debugger or a hang in the kernel does: no clock in it goes on."""

    def process(self, records: list[Record]) -> None:
        if any(record.key.endswith("00000005") for record in records):
            os.kill(os.getpid(), signal.SIGSTOP)
        super().process(records)


class Panic(BaseException):
    """As code in Rust raises: no `Exception`."""


class Exits(Depth):
    """Four records in which a library ends its process, or something else than an `Exception` is raised."""

    def process(self, records: list[Record]) -> None:
        for record in records:
            match int(record.key[-8:]):
                case 5:
                    sys.exit(0)
                case 6:
                    [sys.exit("from a generator") for _ in range(1)]
                case 8:
                    ThreadPoolExecutor(1).submit(sys.exit, 3).result()
                case 10:
                    raise Panic("index out of bounds")
        super().process(records)


class ExitsEarly(Depth):
    """Its library ends the process while it loads."""

    def setup(self) -> None:
        sys.exit(1)


class Slow(Depth):
    """A second for each unit: time for somebody to strike."""

    seconds = 1

    def process(self, records: list[Record]) -> None:
        time.sleep(self.seconds)
        super().process(records)


class Slower(Slow):
    """So many that nobody comes too late, on a busy machine either."""

    seconds = 4


class Victim(Depth):
    """Tells its process to whoever watches: one file per process and per call, beside the output."""

    def process(self, records: list[Record]) -> None:
        calls = Path(self.job.output + ".calls")
        calls.mkdir(exist_ok=True)
        (calls / f"{records[0].key}.{os.getpid()}").touch()
        super().process(records)


STAGES: list[type[Stage]] = [Draw, People, Depth, Finish]
LINES: dict[str, list[type[Stage]]] = {kind.__name__: [Draw, People, kind, Finish] for kind in (Depth, Slower)}


def random_of(record: Record, stage: int) -> np.random.Generator:
    return np.random.default_rng([record.seed, stage])

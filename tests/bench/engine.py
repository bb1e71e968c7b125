"""How busy the engine keeps its slowest stage: simulated GPU times, real units, Ray on this machine.

`python -m tests.bench.engine` prints the share of the time, between the first and the last tenth of its units, that the
bottleneck computed; the rest it waited for the engine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from factory.engine.run import run_job
from factory.job import JobSpec
from factory.record import Person, Record
from factory.stages.base import Stage
from tests.chaos.arena import JOB
from tests.support.seeded_stages import SHAPES

MS = {"generate": 50, "estimate": 5, "render": 5, "refine": 40}  # a record on a GPU
BOTTLENECK = "generate"


class Timed(Stage):
    """Sleeps as long as a GPU would compute, and writes down from when to when."""

    def setup(self) -> None:
        ramp = np.linspace(0, 255, self.job.image_size, dtype=np.uint8)
        self.image = np.stack(np.broadcast_arrays(ramp, ramp[:, None], ramp[::-1]), -1)
        self.mask = self.image[..., 0] > 99

    def process(self, records: list[Record]) -> None:
        begin = time.time()
        for record in records:
            self.fill(record)
        time.sleep(max(0, begin + len(records) * MS[self.name] / 1000 - time.time()))
        with open(f"{self.job.output}.{self.name}", "a") as log:
            log.write(f"{begin} {time.time()}\n")

    def fill(self, record: Record) -> None:
        raise NotImplementedError


class Draw(Timed):
    name = "generate"

    def fill(self, record: Record) -> None:
        record.initial = self.image


class People(Timed):
    name = "estimate"

    def fill(self, record: Record) -> None:
        record.person_mask = record.object_mask = self.mask
        record.people = [Person(**{name: np.ones(shape) for name, shape in SHAPES.items()})]


class Depth(Timed):
    name = "render"

    def fill(self, record: Record) -> None:
        record.depth, record.silhouette = self.mask.astype(np.float32), self.mask


class Finish(Timed):
    name = "refine"

    def fill(self, record: Record) -> None:
        record.final, record.refined = record.initial, True


def main(records: int, unit_size: int, image_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sizes = {
            "records": records,
            "unit_size": unit_size,
            "image_size": image_size,
            "samples_per_shard": unit_size * 10,
        }
        values = {**JOB, **sizes, "engine": "ray", "output": str(Path(folder, "out")), "max_unit_seconds": 600}
        values["stages"] = {**values["stages"], "render": {}}
        run_job(JobSpec.model_validate(values), [Draw, People, Depth, Finish])
        lines = Path(f"{values['output']}.{BOTTLENECK}").read_text().splitlines()
    spans = sorted(tuple(map(float, line.split())) for line in lines)
    steady = spans[len(spans) // 10 : -(len(spans) // 10)]
    busy = sum(end - begin for begin, end in steady) / (steady[-1][1] - steady[0][0])
    waits = sorted(after[0] - before[1] for before, after in pairwise(steady))
    print(
        f"engine: {BOTTLENECK} busy {busy:.1%} of the time in steady state ({records} records of {image_size} px, "
        f"units of {unit_size}, simulated {'/'.join(map(str, MS.values()))} ms a record; between units "
        f"{waits[len(waits) // 2] * 1000:.1f} ms, median; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f})"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engine", description=__doc__)
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--unit-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=512)
    main(**vars(parser.parse_args()))

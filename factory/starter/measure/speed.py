"""Images per second of a job as it is, against the loop of the method's authors: batch 1, one process, same models.

Both are measured with the factory's `run`, from an empty folder to sealed shards, with the loading of the models.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from factory.job import JobSpec
from factory.starter.measure.figures import Figure


def speed_figures(job: JobSpec, records: int) -> list[Figure]:
    """Make `records` images both ways. The score stage is left out, because the authors' loop has none."""
    stages = job.stages.model_copy(update={"score": job.stages.score.model_copy(update={"enabled": False})})
    ours = job.model_copy(update={"records": records, "stages": stages})
    loop = ours.model_copy(update={"engine": "inline", "unit_size": 1})
    factory, authors = _rate(ours), _rate(loop)
    name = f"{job.engine}, batch {job.unit_size}"
    return [
        Figure("speed", "ratio to the authors' loop", factory / authors, records, "images", goal=1.5),
        Figure("speed", f"images per second ({name})", factory, records, "images", "/s"),
        Figure("speed", "images per second, authors' loop (one process, batch 1)", authors, records, "images", "/s"),
    ]


def _rate(job: JobSpec) -> float:
    """Images per second."""
    from factory.engine.run import run_job

    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        run_job(job.model_copy(update={"output": str(Path(folder) / "out")}))
        return job.records / (time.monotonic() - start)

"""How much GPU memory each stage takes: run on one unit, two steps long (the number of steps does not change it)."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np

from factory.job import JobSpec
from factory.record import Record, Unit
from factory.stages.base import Stage

PROMPT = "a photo of a person"


def peaks(job: JobSpec) -> Iterator[tuple[str, int | str]]:
    """(stage, bytes at its peak, or what went wrong) of the four stages, each with its models and unit_size records.

    Bytes are of the GPU; 0 without one. A stage without people in its images draws none, so stage 3 may tell little.
    """
    import torch

    from factory.stages.estimate import Estimate
    from factory.stages.generate import Generate
    from factory.stages.refine import Refine
    from factory.stages.render import Render

    job = _short(job)
    unit = Unit(0, 0, [_record(job, i) for i in range(job.unit_size)])
    stages: list[type[Stage]] = [Generate, Estimate, Render, Refine]
    for kind in stages[1:] if job.images else stages:
        if kind is Refine:  # stage 2 may have found nobody
            unit = Unit(0, 0, [_record(job, i) for i in range(job.unit_size)])
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            unit = kind(job)(unit)
        except Exception as error:  # a doctor tells what is wrong and goes on
            yield kind.name, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            continue
        failed = next((record.error for record in unit.records if record.error), None)
        yield kind.name, failed or (torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0)
        unit = Unit(0, 0, [_record(job, i) for i in range(job.unit_size)]) if failed else unit


def _short(job: JobSpec) -> JobSpec:
    values: dict[str, Any] = job.model_dump()
    for stage in ("generate", "refine"):
        values["stages"][stage]["steps"] = 2
    values["stages"]["refine"]["strength"] = 1.0
    values["stages"]["estimate"]["easy"] = "refine"
    return JobSpec.model_validate(values)


def _record(job: JobSpec, index: int) -> Record:
    """A picture of noise with a slope of depth in its middle."""
    size = job.image_size
    nothing = np.zeros((size, size), bool)
    depth = np.zeros((size, size), np.float32)
    middle = slice(size // 4, 3 * size // 4)
    depth[middle, middle] = np.linspace(20, 21, size // 4 * 3 - size // 4, dtype=np.float32)
    picture = np.random.default_rng(index).integers(0, 256, (size, size, 3), np.uint8)
    record = Record(f"peak-{index:08d}", index, PROMPT, initial=picture, depth=depth, silhouette=depth > 0)
    record.person_mask, record.object_mask = nothing, nothing.copy()
    return record

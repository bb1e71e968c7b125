"""A data set small enough to make a user study of in a test: the initial images are dark, the final ones bright."""

from __future__ import annotations

from pathlib import Path

from factory.job import JobSpec
from tests.support import small


def make_pairs(out: Path, records: int = 12, **changes: object) -> Path:
    """The data set, of which record 3 is rejected."""
    nothing = {"model": "none"}
    stages = {
        "generate": nothing, "refine": nothing,
        "estimate": {"hmr": nothing, "prior": nothing, "detector": nothing, "easy": "refine"},
    }  # fmt: skip
    values = {
        "name": out.name, "output": str(out), "records": records, "image_size": 64, "unit_size": records,
        "samples_per_shard": records, "engine": "inline", "prompts": {"action": ["walking"]},
        "body": {"model": "starter:body", "name": "open-body"}, "stages": stages, "sample": {"extras": ["initial"]},
    }  # fmt: skip
    small.make(JobSpec.model_validate({**values, **changes}), two=())
    return out

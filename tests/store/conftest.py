"""A job for stores and engines: small, quick, and never near a model; and what its data set is."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.job import JobSpec


@pytest.fixture
def job(values: dict) -> JobSpec:
    """22 records of 4 a unit and 8 a shard: the last unit and shard are short."""
    return JobSpec.model_validate({**values, "records": 22, "image_size": 64, "unit_size": 4, "samples_per_shard": 8})


def tree(out: str | Path) -> dict[str, bytes]:
    """Every file of a data set, but for job.json, which tells where it was made."""
    files = {path.relative_to(out).as_posix(): path for path in Path(out).rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "job.json"}


def folders(out: str | Path) -> list[Path]:
    return [path for path in Path(out).rglob("*") if path.is_dir()]

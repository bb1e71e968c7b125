"""Jobs for engines and stores: small, quick, and never near a model."""

from __future__ import annotations

import pytest

from factory.job import JobSpec


@pytest.fixture
def job(values: dict) -> JobSpec:
    """22 records of 4 a unit and 8 a shard: the last unit and shard are short."""
    return JobSpec.model_validate({**values, "records": 22, "image_size": 64, "unit_size": 4, "samples_per_shard": 8})

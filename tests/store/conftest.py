"""A job for stores and engines: small, quick, and never near a model; and what its data set is."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.job import JobSpec
from factory.store import lock
from tests.store import s3


@pytest.fixture
def job(values: dict) -> JobSpec:
    """22 records of 4 a unit and 8 a shard: the last unit and shard are short."""
    return JobSpec.model_validate({**values, "records": 22, "image_size": 64, "unit_size": 4, "samples_per_shard": 8})


@pytest.fixture(scope="module")
def url():
    with s3.server() as url:
        yield url


@pytest.fixture
def proxy(url, monkeypatch):
    with s3.Proxy(url) as proxy:
        for name, value in s3.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield proxy
        proxy.shutdown()


@pytest.fixture
def remote(job, proxy, request) -> JobSpec:
    """The job, to a place of its own in the bucket."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return job.model_copy(update={"output": f"s3://{s3.BUCKET}/deep/{name}"})


def stored(url: str, job: JobSpec) -> dict[str, bytes]:
    found = s3.objects(url, job.output.removeprefix(f"s3://{s3.BUCKET}/"))
    return {name: data for name, data in found.items() if name not in (lock.NAME, "job.json")}


def tree(out: str | Path) -> dict[str, bytes]:
    """Every file of a data set, but for job.json, which tells where it was made."""
    files = {path.relative_to(out).as_posix(): path for path in Path(out).rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "job.json"}


def folders(out: str | Path) -> list[Path]:
    return [path for path in Path(out).rglob("*") if path.is_dir()]

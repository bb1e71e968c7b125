"""An object store of one's own for each file of tests, and a proxy before it that can go wrong."""

from __future__ import annotations

import pytest

from factory.job import JobSpec
from tests.support import s3


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

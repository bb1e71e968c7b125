import pytest

from tests.support.tiny_models import TinyJob


@pytest.fixture
def job(tiny_job: TinyJob) -> TinyJob:
    return tiny_job

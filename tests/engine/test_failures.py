"""A run that is going wrong stops early and says why; one with a bad record now and then goes on."""

from __future__ import annotations

import pytest

from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.store.status import status
from tests.support.seeded_stages import Depth, Draw, Finish, People

pytestmark = pytest.mark.heavy(10)


class Bad(Depth):
    """Two of three records fail, in two ways."""

    def process(self, records) -> None:
        for record in records:
            if int(record.key[-8:]) % 3:
                raise ValueError("no light") if int(record.key[-8:]) % 3 == 1 else OSError("no air")
        super().process(records)


def big(job: JobSpec, **changes: object) -> JobSpec:
    return job.model_copy(update={"records": 400, **changes})


def test_stops_from_the_hundredth_record_on_with_a_summary_by_reason(job):
    with pytest.raises(UserError, match="stopped") as stopped:
        run_job(big(job), [Draw, People, Bad, Finish])
    said = str(stopped.value)
    assert "of this run's 100 records" in said and "max_failed_fraction 0.5" in said
    assert "render: ValueError: no light" in said and "render: OSError: no air" in said and "\n" not in said
    assert status(job.output).units_done == 25 and status(job.output).live is None


def test_goes_on_where_the_job_allows_it_and_where_little_fails(job, tmp_path):
    assert run_job(big(job, max_failed_fraction=1), [Draw, People, Bad, Finish]).states["failed"] > 200
    few = big(job, max_failed_fraction=0.1, output=str(tmp_path / "few"))
    assert run_job(few, [Draw, People, Depth, Finish]).states["failed"] == 1


def test_the_limit_may_change_between_runs_of_one_data_set(job):
    with pytest.raises(UserError, match="stopped"):
        run_job(big(job), [Draw, People, Bad, Finish])
    assert run_job(big(job, max_failed_fraction=1), [Draw, People, Bad, Finish]).units_found == 25

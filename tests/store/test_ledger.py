from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory.engine import inline
from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import plan
from factory.store.dataset import open_data
from factory.store.ledger import open_ledger
from factory.store.mark import MARK_NAME
from factory.store.status import status
from factory.store.verify import verify
from tests.support.files import folders, tree
from tests.support.seeded_stages import STAGES


def changed(job: JobSpec, **changes: object) -> JobSpec:
    return JobSpec.model_validate({**job.model_dump(), **changes})


def stages_with(job: JobSpec, stage: str, **changes: object) -> JobSpec:
    stages = job.model_dump()["stages"]
    return changed(job, stages={**stages, stage: {**stages[stage], **changes}})


def some_units(job: JobSpec, ids: list[tuple[int, int]]) -> None:
    """Commit these units and stop."""
    with open_ledger(job, plan(job)) as ledger:
        for shard, index, part in inline.compute(plan(job), STAGES, ids):
            ledger.commit(shard, index, part)
            ledger.seal(shard)


def test_whatever_the_order_and_however_often_the_bytes_are_the_same(job, tmp_path):
    run_job(job, STAGES)
    other = changed(job, output=str(tmp_path / "other"))
    ids = list(plan(job).ids())
    some_units(other, ids[3:5][::-1])
    some_units(other, [ids[0], ids[0]])
    state = status(other.output)
    assert (state.units_done, state.shards_sealed, state.complete, state.live) == (3, 0, False, None)
    assert sum(state.states.values()) == len(open_data(other.output).rows) == 12
    summary = run_job(other, STAGES)
    assert (summary.units_found, summary.units_done) == (3, 3)
    assert tree(other.output) == tree(job.output)
    assert not folders(other.output)
    assert status(other.output).complete and verify(other.output).ok


def test_a_second_run_does_nothing(job):
    first = run_job(job, STAGES)
    before = {path: path.stat().st_mtime_ns for path in Path(job.output).iterdir() if path.name != MARK_NAME}
    events = []
    second = run_job(job, [], events.append)  # no stage: nothing can be computed
    assert (second.units_done, second.units_found) == (0, 6)
    assert (second.states, second.reasons) == (first.states, first.reasons)
    assert [event.kind for event in events] == ["resumed"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_every_planned_record_is_a_row_in_one_final_state(job):
    summary = run_job(job, STAGES)
    rows = open_data(job.output).rows.to_pylist()
    assert [row["key"] for row in rows] == [plan(job).record(i).key for i in range(22)]
    states = {int(row["key"][-8:]): row["state"] for row in rows}
    assert states == {i: "failed" if i == 7 else "rejected" if i % 5 == 4 else "ok" for i in range(22)}
    assert summary.states == {"ok": 17, "rejected": 4, "failed": 1} and summary.reasons == {"easy": 4}


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-512])])
@pytest.mark.parametrize("ending", [".tar", ".parquet"])
def test_a_damaged_part_is_done_again(job, tmp_path, spoil, ending):
    run_job(job, STAGES)
    other = changed(job, output=str(tmp_path / "other"))
    some_units(other, [(0, 0), (1, 1)])
    spoil(Path(other.output, "parts/000001/000001" + ending))
    assert run_job(other, STAGES).units_found == 1
    assert tree(other.output) == tree(job.output)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda job: changed(job, seed=9), "seed: 0 there, 9 here"),
        (lambda job: changed(job, records=23), "records: 22 there, 23 here"),
        (lambda job: stages_with(job, "refine", strength=0.5), "stages.refine.strength: 0.7 there, 0.5 here"),
        (lambda job: stages_with(job, "generate", cpus=2), "stages.generate.cpus: 1.0 there, 2.0 here"),
    ],
)
def test_another_jobs_place_is_refused_with_what_differs(job, change, field):
    run_job(job, STAGES)
    before = tree(job.output)
    with pytest.raises(UserError) as caught:
        run_job(change(job), STAGES)
    assert "another job" in str(caught.value) and field in str(caught.value)
    assert tree(job.output) == before


def test_who_computes_it_makes_no_other_job(job):
    run_job(job, STAGES)
    other = stages_with(changed(job, engine="ray"), "render", workers=3, gpus=0.5)
    assert run_job(other, STAGES).units_done == 0


def test_a_live_run_is_refused(job):
    run_job(job, STAGES)
    with open_ledger(job, plan(job)):
        assert status(job.output).live is not None
        with pytest.raises(UserError, match="in use by process"):
            run_job(job, STAGES)


def test_somebodys_files_are_left_alone(job):
    Path(job.output).mkdir()
    Path(job.output, "thesis.doc").write_text("years")
    with pytest.raises(UserError, match="thesis.doc"):
        run_job(job, STAGES)
    assert [path.name for path in Path(job.output).iterdir()] == ["thesis.doc"]


def test_a_plan_larger_than_the_disk_is_refused(job):
    huge = changed(job, records=10**8, image_size=4096)
    with pytest.raises(UserError, match="GB free and the plan takes about"):
        run_job(huge, STAGES)
    assert not Path(job.output).exists()


def test_an_output_that_is_a_file_is_refused(job):
    Path(job.output).write_text("")
    with pytest.raises(UserError, match="a file stands where a folder should be"):
        run_job(job, STAGES)


@pytest.mark.parametrize("content", [None, "", "{}", '{"job": {"name": 3}}'])
def test_status_of_no_data_set_is_a_clear_line(tmp_path, content):
    if content is not None:
        (tmp_path / "job.json").write_text(content)
    for ask in (status, verify, open_data):
        with pytest.raises(UserError, match=str(tmp_path)):
            ask(str(tmp_path))


def test_the_job_lies_beside_the_shards(job):
    run_job(job, STAGES)
    stored = json.loads(Path(job.output, "job.json").read_text())
    assert JobSpec.model_validate(stored["job"]) == job and len(stored["fingerprint"]) == 64
    assert "torch" in stored["made_with"]

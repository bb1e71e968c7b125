"""`verify` beside a run that goes on: it is right about what is there, and says what moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.engine import inline
from factory.engine.run import run_job
from factory.plan import plan
from factory.store.dataset import open_data
from factory.store.layout import part_archive
from factory.store.ledger import open_ledger
from factory.store.mark import Holder
from factory.store.reopen import retry
from factory.store.verify import _Verification, verify
from tests.support.files import flip
from tests.support.seeded_stages import STAGES


def beside(job, go_on, live: bool = True):
    """The report of a verification that lists, then waits while something goes on, and reads what was listed."""
    data = open_data(job.output)
    holder = Holder(7, "elsewhere", 0.0, 0.0) if live else None
    assert data.sizes
    go_on()
    return _Verification(data, holder).report


def commit(ledger, ids) -> None:
    for shard, index, part in inline.compute(ledger.plan, STAGES, ids):
        ledger.commit(shard, index, part)


def test_shards_that_are_sealed_while_it_looks(job):
    with open_ledger(job, plan(job)) as ledger:
        commit(ledger, [(0, 0), (0, 1), (1, 0)])
        report = beside(job, lambda: ledger.seal(0))
    assert report.ok and (report.shards, report.samples) == (1, 9)
    assert "process 7 on elsewhere is at work here" in report.notes[0]
    assert "2 of 3 shards are not sealed; 1 of their units are there" in report.notes


def test_parts_that_lie_ready_are_told_as_being_sealed(job):
    with open_ledger(job, plan(job)) as ledger:
        commit(ledger, [(0, 0), (0, 1)])
    report = verify(job.output)
    assert report.ok and report.notes == ["3 of 3 shards are not sealed; 2 of their units are there, 1 being sealed"]


def test_shards_that_are_taken_apart_while_it_looks(job):
    run_job(job, STAGES)
    report = beside(job, lambda: retry(job.output))
    assert report.ok and report.shards == 2 and not report.complete
    assert "small-000000.parquet: changed or taken back while it was looked at" in report.notes


def test_shards_that_are_made_anew_while_it_looks(job):
    run_job(job, STAGES)
    report = beside(job, lambda: (retry(job.output), run_job(job, STAGES)))
    assert report.ok and report.complete and report.samples == 17


def test_a_part_that_is_being_written_anew_is_no_fault_of_a_live_run(job):
    with open_ledger(job, plan(job)) as ledger:
        commit(ledger, [(0, 0), (1, 0)])
    flip(Path(job.output, "parts/000001/000000.tar"), 700)
    moving = beside(job, lambda: None)
    assert moving.ok and any("the run at work may be writing it" in note for note in moving.notes)
    still = beside(job, lambda: None, live=False)
    assert still.broken_parts == [part_archive(1, 0)]


@pytest.mark.parametrize("name", ["small-000001.tar", "small-000001.parquet"])
def test_damage_of_a_sealed_shard_is_told_beside_a_live_run_too(job, name):
    run_job(job, STAGES)
    flip(Path(job.output, name), 700)
    report = beside(job, lambda: None)
    assert list(report.broken) == [1] and any(name in problem for problem in report.problems)


def test_the_command_tells_a_live_run_and_no_false_alarm(job, command):
    with open_ledger(job, plan(job)) as ledger:
        commit(ledger, [(0, 0), (0, 1), (1, 0)])
        ledger.seal(0)
        done = command("verify", job.output)
    assert done.returncode == 3 and "is at work here" in done.stdout and "Sound: 1 shard" in done.stdout, done.stdout

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.store.dataset import open_data
from factory.store.verify import verify
from tests.support.files import tree
from tests.support.run_to_kill import kill_run_after
from tests.support.seeded_stages import STAGES, Depth, Draw, Exits, ExitsEarly, Finish, Hang, People


@pytest.mark.heavy(4)
def test_driver_killed_three_times(job, tmp_path):
    """Each next run goes on from what it finds, and says so; the bytes are those of an uninterrupted run."""
    job = job.model_copy(update={"records": 61})
    whole = job.model_copy(update={"output": str(tmp_path / "whole")})
    run_job(whole, STAGES)
    moments = random.Random(20)
    first = [kill_run_after(job, moments.randint(2, 6))[0] for _ in range(3)]
    assert first[0] == "resumed 16 units to do\n"
    found = [int(line.split()[2]) for line in first[1:]]  # "resumed resumed: 3 of 16 units found; ..."
    assert 1 <= found[0] < found[1] and all("doing the other" in line for line in first[1:])
    events = []
    summary = run_job(job, STAGES, events.append)
    assert summary.units_found > found[1] and summary.units_found + summary.units_done == 16
    assert tree(job.output) == tree(whole.output) and verify(job.output).ok
    assert sum(event.records for event in events) == 61  # a progress bar adds them up


def test_events_add_up_to_the_summary(job):
    events = []
    summary = run_job(job, STAGES, events.append)
    assert [event.kind for event in events] == ["resumed", *["unit", "unit", "sealed"] * 3]
    assert {(event.total_records, event.total_units) for event in events} == {(22, 6)}
    for state, number in summary.states.items():
        assert sum(event.states.get(state, 0) for event in events) == number
    assert sum(event.reasons.get("easy", 0) for event in events) == summary.reasons["easy"] == 4
    assert all(event.message and "\n" not in event.message for event in events)


def test_a_record_that_hangs_fails_alone(job, tmp_path):
    """As on Ray, but for the number of attempts."""
    peace = job.model_copy(update={"output": str(tmp_path / "peace")})
    run_job(peace, STAGES)
    before = signal.getsignal(signal.SIGALRM)
    run_job(job.model_copy(update={"max_unit_seconds": 0.5}), [Draw, People, Hang, Finish])
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    good, rows = (open_data(j.output).rows.to_pylist() for j in (peace, job))
    found = rows.pop(5)
    told = [found[name] for name in ("state", "stage", "error", "attempts")]
    assert told == ["failed", "render", "took longer than 0.5 s", 3]
    good.pop(5)
    for row in good + rows:
        del row["offset"], row["size"]
    assert rows == good and verify(job.output).ok


def test_a_library_that_ends_its_process_fails_one_record(job):
    """It ended the run, silently and with exit code 0."""
    run_job(job, [Draw, People, Exits, Finish])
    rows = {int(row["key"][-8:]): (row["state"], row["error"]) for row in open_data(job.output).rows.to_pylist()}
    said = {
        5: "it called sys.exit(0)", 6: "it called sys.exit(from a generator)", 8: "it called sys.exit(3)",
        10: "Panic(index out of bounds)",
    }  # fmt: skip
    assert {number: rows[number] for number in said} == {n: ("failed", f"RuntimeError: {w}") for n, w in said.items()}
    assert [state for state, _ in rows.values()].count("failed") == 5 and verify(job.output).ok  # and number 7


class Interrupts(Depth):
    def process(self, records) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_in_a_stage_stays_a_stop(job):
    with pytest.raises(KeyboardInterrupt):
        run_job(job, [Draw, People, Interrupts, Finish])
    assert not list(Path(job.output).rglob("*.parquet"))


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Odd(Depth):
    """Errors whose texts no UTF-8 file and no screen can take."""

    def process(self, records) -> None:
        for record in records:
            match int(record.key[-8:]):
                case 5:
                    raise ValueError("b\udcffd \x1b[2J name \N{SNOWMAN}")
                case 6:
                    raise Speechless
        super().process(records)


def test_an_error_in_any_letters_reaches_the_index_safely(job):
    run_job(job, [Draw, People, Odd, Finish])
    rows = {int(row["key"][-8:]): row["error"] for row in open_data(job.output).rows.to_pylist()}
    assert rows[5] == r"ValueError: b\udcffd \x1b[2J name " + "\N{SNOWMAN}"
    assert rows[6] == "Speechless: (it cannot be told)"
    assert verify(job.output).ok


class NoWeights(Depth):
    def setup(self) -> None:
        raise UserError("stages.render.model: not there")


class BadWeights(Depth):
    def setup(self) -> None:
        raise EOFError("half a file")


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (NoWeights, "not there"),
        (BadWeights, "render cannot start: EOFError"),
        (ExitsEarly, r"render cannot start: .*it called sys.exit\(1\)"),
    ],
)
def test_a_stage_that_cannot_be_set_up_stops_the_run(job, stage, words):
    with pytest.raises(UserError, match=words):
        run_job(job, [Draw, People, stage, Finish])
    assert not list(Path(job.output).glob("parts"))


class Threads(Depth):
    def setup(self) -> None:
        import torch

        self.torch = torch

    def process(self, records) -> None:
        super().process(records)
        for record in records:
            record.prompt = f"{self.torch.get_num_threads()} threads"


def test_a_stage_computes_on_as_many_threads_as_it_holds_cores(job):
    stages = job.model_dump()["stages"]
    stages["render"]["cpus"] = 3.5
    job = JobSpec.model_validate({**job.model_dump(), "stages": stages})
    run_job(job, [Draw, People, Threads, Finish])
    assert set(open_data(job.output).rows["prompt"].to_pylist()[:3]) == {"3 threads"}

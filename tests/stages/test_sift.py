"""A bad record fails alone, and those beside it keep the bytes that they would have had beside a good one."""

from __future__ import annotations

import pytest

from factory.job import JobSpec
from factory.record import Reason, Record, State, Unit
from factory.stages.base import Stage
from factory.stages.generate import Generate
from tests.support.command import needs_weights


class Shaped(Stage):
    """As the models do: what a record becomes follows a little from the shape of its batch and from its seat there."""

    name = "render"
    bad: set[str] = set()

    def setup(self) -> None:
        self.batches: list[list[str]] = []

    def process(self, records: list[Record]) -> None:
        self.batches.append([record.key for record in records])
        for seat, record in enumerate(records):
            record.attempts += 10
            if record.key in self.bad:
                raise ArithmeticError(record.key)
            record.measure(pose_score=record.seed + len(records) / 10 + seat / 100)


def unit(size: int) -> Unit:
    return Unit(0, 0, [Record(f"k{i}", i, "") for i in range(size)])


def scores(done: Unit) -> list[float | None]:
    return [record.metrics["pose_score"] if record.active else None for record in done.records]


@pytest.mark.parametrize("bad", [{"k0"}, {"k2"}, {"k0", "k3"}])
def test_neighbours_of_what_raises_keep_their_bytes(values, bad):
    stage = Shaped(JobSpec.model_validate(values))
    good = scores(stage(unit(4)))
    stage.bad = bad
    done = stage(unit(4))
    assert scores(done) == [None if f"k{i}" in bad else good[i] for i in range(4)]
    for record in done.records:
        assert record.attempts == (1 if record.key in bad else 11), "taken from where it was before the batch failed"
        assert (record.state is State.FAILED) == (record.key in bad) == bool(record.error)


class Tight(Shaped):
    """Three at a time fill the memory, and so does k1 alone."""

    error: Exception = MemoryError("three")

    def process(self, records: list[Record]) -> None:
        super().process(records)
        records[0].reject(Reason.EASY, self.name)  # half-done work must not stay
        if len(records) > 2 or records[0].key == "k6":
            raise self.error
        records[0].state = State.PENDING


def test_short_of_memory_a_batch_is_done_in_halves(values):
    stage = Tight(JobSpec.model_validate(values))
    done = stage(unit(5))
    assert stage.batches == [["k0", "k1", "k2", "k3", "k4"], ["k0", "k1"], ["k2", "k3", "k4"], ["k2"], ["k3", "k4"]]
    assert all(record.active and record.attempts == 11 for record in done.records)


def test_cuda_out_of_memory_too_and_what_never_fits_fails_alone(values):
    import torch

    stage = Tight(JobSpec.model_validate(values))
    stage.error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    done = stage(unit(8))
    assert [record.key for record in done.records if record.state is State.FAILED] == ["k6"]
    assert "OutOfMemoryError" in done.records[6].error and len(done.active) == 7


class Picky(Generate):
    """The real one, but for a prompt that it does not take."""

    def process(self, records: list[Record]) -> None:
        if any(record.prompt == "nonsense" for record in records):
            raise ValueError("no such thing")
        super().process(records)


@needs_weights
def test_pixels_beside_a_bad_prompt_are_those_beside_a_good_one(values):
    """Of a diffusion model, to the last bit: alone, or in a smaller batch, they may differ by rounding."""
    stage = Picky(JobSpec.model_validate(values))
    prompts = ["a person walking", "a person diving", "a person jumping"]
    good, bad = (
        stage(Unit(0, 0, [Record(f"k{i}", i, text) for i, text in enumerate(texts)]))
        for texts in (prompts, [prompts[0], "nonsense", prompts[2]])
    )
    assert bad.records[1].state is State.FAILED
    for i in (0, 2):
        assert (bad.records[i].array("initial") == good.records[i].array("initial")).all()

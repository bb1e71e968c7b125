import numpy as np
import pytest

from factory.errors import UserError
from factory.record import Record, Unit
from factory.stages.generate import Generate
from tests.support.records import SIZE


def planned(count: int) -> list[Record]:
    return [Record(f"small-{i:08d}", 1000 + i, f"a photo of thing {i}") for i in range(count)]


def test_every_record_gets_its_image(job):
    unit = Generate(job())(Unit(0, 0, planned(3)))
    for record in unit.records:
        assert record.active and record.initial.shape == (SIZE, SIZE, 3) and record.initial.dtype == np.uint8
    assert len({record.initial.tobytes() for record in unit.records}) == 3


def test_the_unit_is_its_own_repeat(job):
    """Another process, the same unit: the same bytes. A smaller batch: the same picture."""
    one, two = (Generate(job())(Unit(0, 0, planned(2))) for _ in range(2))
    assert one.to_bytes() == two.to_bytes()
    alone = Generate(job())(Unit(0, 0, planned(2)[1:])).records[0].initial
    assert np.abs(alone.astype(int) - one.records[1].initial).max() <= 1


def test_a_record_that_is_done_is_left_alone(job):
    records = planned(2)
    records[0].fail("gone", "generate")
    unit = Generate(job())(Unit(0, 0, records))
    assert unit.records[0].initial is None and unit.records[1].initial is not None


def test_a_poisoned_record_fails_alone(job):
    records = planned(3)
    records[1].prompt = None  # type: ignore[assignment]
    unit = Generate(job())(Unit(0, 0, records))
    assert [record.state for record in unit.records] == ["pending", "failed", "pending"]
    assert unit.records[1].stage == "generate" and unit.records[1].error


def test_a_prompt_is_stored_as_far_as_it_was_read(job):
    records = planned(2)
    records[0].prompt, records[1].prompt = "a photo", "a photo of thing 1, " + "which goes on and on" * 9
    whole = records[1].prompt
    unit = Generate(job())(Unit(0, 0, records))
    assert unit.records[0].prompt == "a photo" and unit.records[0].active
    assert whole.startswith(unit.records[1].prompt) and len(unit.records[1].prompt) < 40


def test_guidance_that_has_no_effect_is_refused_before_anything_is_drawn(job):
    with pytest.raises(UserError, match="^stages.generate.negative_prompt: it has no effect with a guid"):
        Generate(job(generate={"guidance_scale": 1.0, "negative_prompt": "blue"})).setup()

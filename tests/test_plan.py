from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import Plan, plan


def make(values: dict, **changes: object) -> Plan:
    return plan(JobSpec.model_validate({**values, **changes}))


sizes = st.tuples(st.integers(1, 300), st.integers(1, 9), st.integers(1, 9))
reuse = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@reuse
@given(sizes)
def test_every_record_comes_once_in_order(values, shape):
    records, unit_size, units = shape
    planned = make(values, records=records, unit_size=unit_size, samples_per_shard=unit_size * units)
    keys = [record.key for unit in planned.iter_units() for record in unit.records]
    assert keys == sorted(set(keys)) and len(keys) == records
    assert keys == [planned.record(i).key for i in range(records)]
    assert not any("." in key for key in keys)


@reuse
@given(sizes)
def test_units_and_shards_are_full_except_the_last(values, shape):
    records, unit_size, units = shape
    planned = make(values, records=records, unit_size=unit_size, samples_per_shard=unit_size * units)
    everything = list(planned.iter_units())
    assert [(unit.shard, unit.index) for unit in everything] == list(planned.ids())
    assert len(everything) == planned.units == sum(planned.units_in(shard) for shard in range(planned.shards))
    assert all(len(unit.records) == unit_size for unit in everything[:-1])
    assert 1 <= len(everything[-1].records) <= unit_size
    held = [sum(len(unit.records) for unit in everything if unit.shard == shard) for shard in range(planned.shards)]
    assert held == [planned.records_in(shard) for shard in range(planned.shards)]
    assert held[:-1] == [unit_size * units] * (planned.shards - 1) and held[-1] >= 1


@reuse
@given(sizes)
def test_random_access_gives_what_iteration_gives(values, shape):
    records, unit_size, units = shape
    planned = make(values, records=records, unit_size=unit_size, samples_per_shard=unit_size * units)
    for unit in planned.iter_units():
        assert planned.unit(unit.shard, unit.index) == unit


@reuse
@given(st.integers(0, 2**70), st.integers(1, 50), st.integers(1, 50))
def test_a_record_follows_from_seed_and_key_alone(values, seed, few, more):
    """Neither the number of records nor the size of units reaches it."""
    one = make(values, seed=seed, records=few, unit_size=1, samples_per_shard=1)
    other = make(values, seed=seed, records=few + more, unit_size=3, samples_per_shard=9)
    assert one.record(few - 1) == other.record(few - 1)
    assert 0 <= one.record(0).seed < 2**63


def test_seeds_stay_what_they_were(values):
    """Published data sets depend on these numbers."""
    first = make(values, seed=7).record(0)
    assert (first.key, first.seed) == ("small-00000000", 4598452024142652378)
    seeds = {make(values, seed=seed, records=400).record(i).seed for seed in range(3) for i in range(400)}
    assert len(seeds) == 1200


def test_prompts_draw_from_every_list(values):
    lists = {"person": ["a man", "a child"], "action": ["x", "y", "z"]}
    prompts = {"template": "{person} {action}, {person} {{sic}}", **lists}
    planned = make(values, prompts=prompts, records=600, unit_size=2, samples_per_shard=4)
    drawn = [planned.record(i).prompt for i in range(600)]
    assert set(drawn) == {f"{p} {a}, {p} {{sic}}" for p in ("a man", "a child") for a in "xyz"}
    assert min(map(drawn.count, set(drawn))) > 60  # of 100 expected


@pytest.mark.parametrize(
    "template",
    ["{place}", "{action.__class__}", "{action[0]}", "{}", "{0}", "{action!r}", "{action:>9}", "{action", "}"],
)
def test_a_template_names_lists_and_nothing_else(values, template):
    with pytest.raises(UserError, match=r"prompts\.template"):
        make(values, prompts={**values["prompts"], "template": template})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit_size": 4, "samples_per_shard": 10}, "no multiple of unit_size 4; take 12"),
        ({"records": 10**8 + 1}, "records"),
        ({"name": "n" * 80}, "name"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(values, changes, words):
    with pytest.raises(UserError, match=words):
        make(values, **changes)


def test_a_huge_plan_costs_nothing(values):
    planned = make(values, records=10**8, unit_size=8, samples_per_shard=1000)
    assert planned.record(10**8 - 1).key == "small-99999999"
    assert planned.unit(planned.shards - 1, 124).records[-1].key == "small-99999999"
    assert next(planned.iter_units()).records[0].key == "small-00000000"


def test_bytes_grow_with_what_is_stored(values):
    bare = make(values, sample={"extras": []}, image_size=512)
    assert 100_000 < bare.sample_bytes < 400_000
    assert make(values, sample={"extras": ["depth"]}, image_size=512).sample_bytes > bare.sample_bytes + 512 * 512 * 4
    assert bare.bytes == bare.records * bare.sample_bytes


def test_weights_are_chances(values):
    prompts = {"template": {"{action}": 3, "no {action}": 1}, "action": {"x": 1, "y": 9}}
    planned = make(values, prompts=prompts, records=2000, unit_size=2, samples_per_shard=4)
    drawn = [planned.record(i).prompt for i in range(2000)]
    assert 1400 < sum(not prompt.startswith("no") for prompt in drawn) < 1600
    assert 1730 < sum(prompt.endswith("y") for prompt in drawn) < 1870
    assert abs(drawn.count("no x") - 50) < 30  # drawn apart from each other


def test_one_of_several_templates(values):
    prompts = {"template": ["a {action}", "b", "{person} c"], "person": ["p", "q"], "action": ["x"]}
    planned = make(values, prompts=prompts, records=300)
    assert {planned.record(i).prompt for i in range(300)} == {"a x", "b", "p c", "q c"}


def test_an_empty_list_is_refused_where_the_template_asks_for_it(values):
    with pytest.raises(UserError, match=r"prompts\.action is missing"):
        make(values, prompts={"template": "{action}"})


def real(values, tmp_path, **changes) -> Plan:
    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    return make(values, images={"path": str(tmp_path)}, records=0, **changes)


def test_each_image_once_times_variants(values, tmp_path):
    values["stages"]["estimate"]["augment"] = {"variants": 2}
    planned = real(values, tmp_path)
    records = [planned.record(i) for i in range(planned.records)]
    assert [(r.source, r.variant) for r in records] == [(f"{name}.png", i) for name in "abc" for i in (0, 1)]
    assert len({r.seed for r in records}) == 6 and {r.image_seed for r in records} == {None}
    assert planned.job.records == 6


def test_images_come_round_again(values, tmp_path):
    planned = make(real(values, tmp_path).job.model_dump(mode="json"), records=7)
    assert [planned.record(i).source[0] for i in range(7)] == list("abcabca")


def test_what_is_planned_is_told_without_the_images(values, tmp_path):
    """Status and verification read a data set whose real images may be gone."""
    planned = real(values, tmp_path)
    names = [(r.key, r.seed) for r in planned.unit(0, 1).records]
    for name in "abc":
        (tmp_path / f"{name}.png").unlink()
    again = plan(planned.job)
    assert again.names(0, 1) == names
    with pytest.raises(UserError, match="no images"):
        again.record(0)


def test_variants_of_a_text_share_its_image(values):
    values["stages"]["estimate"]["augment"] = {"variants": 3}
    planned = make(values, records=7)
    records = [planned.record(i) for i in range(7)]
    assert [r.image_seed for r in records] == [None, *[records[0].seed] * 2, None, *[records[3].seed] * 2, None]
    assert [r.prompt for r in records[:3]] == [records[0].prompt] * 3

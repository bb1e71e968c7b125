"""Data sets of strangers, broken and forged in many ways, through every verb that reads them: one line or success,
nothing outside of them touched, and less than a gigabyte of memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from factory.export.formats import FORMATS
from tests.support import hostile, mischief

pytestmark = pytest.mark.heavy(3)

MEMORY = 1000  # MB
changes = st.lists(st.tuples(st.sampled_from(sorted(mischief.CHANGES)), st.integers(0, 2**32)), min_size=1, max_size=3)
formats = st.lists(st.sampled_from(list(FORMATS)), min_size=1, max_size=1)
tried = settings(
    deadline=None,
    phases=[Phase.generate],  # a trial takes seconds, and making a failing one smaller takes hundreds of them
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "base"
    folder.mkdir()
    hostile.begin(folder)
    return folder


@pytest.fixture(scope="module")
def child() -> Iterator[ProcessPoolExecutor]:
    """A process of its own: its memory is measured, and it may die."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


def judge(base: Path, child: ProcessPoolExecutor, some: list[tuple[str, int]], names: list[str]) -> None:
    work = base.parent / "work" / "there"
    work.parent.mkdir(exist_ok=True)
    done = child.submit(hostile.trial, str(base), str(work), some, names).result()
    assert not done.problems, "\n".join(done.problems)
    assert done.peak < MEMORY


def test_the_judge_knows_a_sound_data_set(base, child):
    work = base.parent / "work" / "there"
    work.parent.mkdir(exist_ok=True)
    done = child.submit(hostile.trial, str(base), str(work), [], ["spin", "hmr2"]).result()
    assert not done.problems and set(done.codes.values()) <= {0, 3}, done


@settings(tried, max_examples=12)
@given(changes, formats)
def test_a_hostile_data_set_gives_one_line_or_success(base, child, changes, formats):
    judge(base, child, changes, formats)


@pytest.mark.slow
@settings(tried, max_examples=200)
@given(changes, formats)
def test_two_hundred_hostile_data_sets(base, child, changes, formats):
    judge(base, child, changes, formats)

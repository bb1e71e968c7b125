"""Intervals by bootstrap: those of a plain loop, for all figures at once."""

from __future__ import annotations

import numpy as np
import pytest

from factory.evaluate import bootstrap as module
from factory.evaluate.bootstrap import IntervalValue, bootstrap, mean_terms


def test_each_resampling_draws_people_and_divides_the_sums():
    rng = np.random.default_rng(3)
    above, below = rng.random((7, 2)), rng.integers(1, 5, (7, 2)).astype(float)
    draws = np.random.default_rng(0).integers(7, size=(1000, 7))
    values = np.array([above[rows].sum(0) / below[rows].sum(0) for rows in draws])
    for j, figure in enumerate(bootstrap(above, below)):
        assert figure.value == pytest.approx(above[:, j].sum() / below[:, j].sum())
        assert (figure.low, figure.high) == pytest.approx(tuple(np.percentile(values[:, j], [2.5, 97.5])))


def test_the_interval_of_a_mean_is_that_of_the_central_limit():
    values = np.random.default_rng(1).normal(50, 10, 4000)
    (figure,) = bootstrap(*(terms[:, None] for terms in mean_terms(values)))
    half = 1.96 * 10 / 4000**0.5
    assert (figure.low, figure.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 5)


def test_people_without_a_figure_are_left_out():
    values = np.array([1.0, np.nan, 3.0, np.nan])
    nobody = np.full(4, np.nan)
    above, below = (np.stack(terms, 1) for terms in zip(mean_terms(values), mean_terms(nobody), strict=True))
    figure, none = bootstrap(above, below)
    assert none is None and figure.value == 2 and figure.count == 2
    assert 1 <= figure.low < figure.high <= 3


def test_one_person_has_no_spread():
    assert bootstrap(np.array([[5.0]]), np.array([[2.0]])) == [IntervalValue(2.5, 2.5, 2.5, 1)]


def test_memory_does_not_change_the_figures(monkeypatch):
    terms = np.random.default_rng(2).random((40, 3)), np.ones((40, 3))
    at_once = bootstrap(*terms)
    monkeypatch.setattr(module, "AT_ONCE", 500)
    assert bootstrap(*terms) == at_once

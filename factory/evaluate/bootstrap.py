"""Figures with their spread: means and ratios over people, each with the interval of a bootstrap over the people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLINGS = 1000
AT_ONCE = 1_000_000  # numbers that are drawn at once
TAIL = 2.5  # per cent of the resamplings on either side of the interval


@dataclass(frozen=True)
class IntervalValue:
    """A value and its 95 % interval, low ... high, over `count` people."""

    value: float
    low: float
    high: float
    count: int


def mean_terms(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values (N,), NaN where a person has none -> (above, below), the terms of their mean for `bootstrap`."""
    known = np.isfinite(values)
    return np.where(known, values, 0), known.astype(np.float64)


def bootstrap(above: np.ndarray, below: np.ndarray) -> list[IntervalValue | None]:
    """above, below (N, M) float64 -> M figures: the sum of `above` over the sum of `below`. A resampling draws N of the
    N people with replacement and takes both sums over those drawn, for all M figures at once. None: nobody has the
    figure. The same input gives the same figures.
    """
    people, count = len(above), (below > 0).sum(0)
    rng, draws = np.random.default_rng(0), []
    rows = max(1, min(RESAMPLINGS, AT_ONCE // max(people, 1)))
    for first in range(0, RESAMPLINGS, rows):
        some = min(rows, RESAMPLINGS - first)
        drawn = rng.integers(people, size=(some, people)) + people * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * people).reshape(some, people).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws.append((times @ above) / (times @ below))
    values = np.concatenate(draws)
    figures: list[IntervalValue | None] = []
    for j in range(above.shape[1]):
        if not count[j]:
            figures.append(None)
            continue
        low, high = np.nanpercentile(values[:, j], [TAIL, 100 - TAIL])
        value = above[:, j].sum() / below[:, j].sum()
        figures.append(IntervalValue(float(value), float(low), float(high), int(count[j])))
    return figures

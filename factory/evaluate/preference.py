"""The figures of a user study: shares with intervals, and how far raters agree.

Shapes: answers (R, P) float of R raters to P pairs: FINAL 1, INITIAL 0, TIE 0.5 for no preference, NaN where there is
no answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FINAL, TIE, INITIAL = 1.0, 0.5, 0.0
RESAMPLINGS = 2000


@dataclass(frozen=True)
class Share:
    """value: over all answers. interval: 95 %, by bootstrap over raters and pairs. mean, std: of the raters' own
    shares; std is None for one rater. All are None where no answer says anything."""

    value: float | None
    interval: tuple[float, float] | None
    mean: float | None
    std: float | None


def shares_of(answers: np.ndarray) -> dict[str, float]:
    """The shares of any set of answers, of any shape; NaN where none says anything."""
    return {name: float(share) for name, share in _shares(*_counts(answers)).items()}


def preference_shares(answers: np.ndarray, seed: int = 0) -> dict[str, Share]:
    """Each share of `shares_of` with its interval.

    The bootstrap draws raters and, independently, pairs, both with replacement (Owen, "The pigeonhole bootstrap",
    2007): the interval holds for other raters and other pairs of the same kinds, and is rather too wide than too
    narrow.
    """
    rng = np.random.default_rng(seed)
    by_rater, by_pair = (rng.multinomial(n, [1 / n] * n, RESAMPLINGS).astype(float) for n in answers.shape)
    drawn = [((by_rater @ (answers == which)) * by_pair).sum(1) for which in (FINAL, INITIAL, TIE)]
    resampled, own = _shares(*drawn), _shares(*_counts(answers, axis=1))
    return {name: _share(value, resampled[name], own[name]) for name, value in shares_of(answers).items()}


def _counts(answers: np.ndarray, axis: int | None = None) -> list[np.ndarray]:
    return [np.sum(answers == which, axis, dtype=float) for which in (FINAL, INITIAL, TIE)]


def _shares(final: np.ndarray, initial: np.ndarray, tie: np.ndarray) -> dict[str, np.ndarray]:
    """Each share, from the numbers of answers."""
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        given = final + initial + tie
        return {
            "final": final / given,
            "initial": initial / given,
            "no preference": tie / given,
            "final, ties left out": final / (final + initial),
            "final, ties split": (final + tie / 2) / given,
        }


def _share(value: float, resampled: np.ndarray, own: np.ndarray) -> Share:
    resampled, own = resampled[~np.isnan(resampled)], own[~np.isnan(own)]
    if np.isnan(value):
        return Share(None, None, None, None)
    low, high = np.percentile(resampled, [2.5, 97.5])
    std = float(own.std(ddof=1)) if len(own) > 1 else None
    return Share(value, (float(low), float(high)), float(own.mean()), std)


def krippendorff_alpha(answers: np.ndarray) -> float | None:
    """How far raters agree on nominal answers, any values, NaN for none: 1 entirely, 0 as if by chance. None where it
    is undefined: no pair has two answers, or all answers are the same.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, part C: alpha = 1 - D_o / D_e, the disagreement
    that is observed over the one expected by chance, from the number n_uc of raters who gave pair u the answer c:
    D_o = 1/n sum_u sum_(c != k) n_uc n_uk / (m_u - 1) and D_e = sum_(c != k) n_c n_k / (n (n - 1)), over the pairs with
    m_u >= 2 answers, where n_c = sum_u n_uc and n = sum_c n_c.
    """
    values = np.unique(answers[~np.isnan(answers)])
    by_pair = np.array([(answers == value).sum(0) for value in values]).T  # n_uc (P, C)
    by_pair = by_pair[by_pair.sum(1) >= 2] if values.size else np.zeros((0, 0))
    raters, by_value, total = by_pair.sum(1), by_pair.sum(0), by_pair.sum()  # m_u, n_c, n
    expected = total**2 - (by_value**2).sum()  # times n (n - 1)
    if not total or not expected:
        return None
    observed = ((raters**2 - (by_pair**2).sum(1)) / (raters - 1)).sum()  # times n
    return float(1 - observed * (total - 1) / expected)

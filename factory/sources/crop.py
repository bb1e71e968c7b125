"""The square around a person, from annotated joints, as SPIN's data and the paper's supplement (B) have it."""

from __future__ import annotations

import numpy as np

TORSOS = 3.0  # the torso, shoulder to hip, is about a third of the square
MARGIN = 1.2  # and the whole person fits with some room


def person_window(joints: np.ndarray, seen: np.ndarray, torso: list[tuple[int, int]]) -> tuple[float, float, float]:
    """joints (J, 2) px; seen (J,) bool, at least two; torso: index pairs (shoulder, hip) of both sides -> (centre x,
    centre y, side) px: max(3 mean torso, 1.2 longer side of the box around the joints seen)."""
    low, high = joints[seen].min(0), joints[seen].max(0)
    lengths = [np.linalg.norm(joints[a] - joints[b]) for a, b in torso if seen[a] and seen[b]]
    side = max(TORSOS * float(np.mean(lengths)) if lengths else 0.0, MARGIN * float((high - low).max()), 1.0)
    x, y = (low + high) / 2
    return float(x), float(y), side

"""Masked depth and its inverse as the refiner sees it."""

import numpy as np
import pytest

from factory.geometry.depth import BACKGROUND_GAP, inverse_depth, masked_depth


def ramp() -> np.ndarray:
    depth = np.zeros((64, 64), np.float32)
    depth[16:48, 16:48] = np.linspace(4, 5, 32, dtype=np.float32)  # nearer on the left
    return depth


def test_objects_cut_the_body_and_add_nothing():
    mask = np.zeros((64, 64), bool)
    mask[:32] = True
    masked = masked_depth(ramp(), mask)
    assert not masked[:32].any() and (masked[32:] == ramp()[32:]).all()


def test_near_is_large_and_the_background_lies_clearly_behind():
    d = inverse_depth(ramp(), 64, 64)
    body = ramp() > 0
    assert d[body].max() == pytest.approx(1) and d[~body].max() == pytest.approx(-1)
    assert d[body].min() == pytest.approx(-1 + 2 * BACKGROUND_GAP, abs=1e-5)
    assert (np.diff(d[20, 16:48]) < 0).all()


def test_a_coarse_cell_partly_covered_lies_between():
    coarse = inverse_depth(np.pad(np.full((60, 64), 3, np.float32), ((4, 0), (0, 0))), 8, 8)
    assert coarse.shape == (8, 8) and -1 < coarse[0, 0] < coarse[1, 0]


def test_an_empty_map_is_refused():
    with pytest.raises(ValueError, match="empty"):
        inverse_depth(np.zeros((64, 64), np.float32), 8, 8)

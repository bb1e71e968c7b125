from __future__ import annotations

import numpy as np
import pytest

from factory.evaluate.resizing import resized


def cubic(size: int, side: int) -> np.ndarray:
    """(side, size): the weights of Keys' cubic with a = -0.5, as wide as the reduction asks for, at pixel centres."""
    scale = size / side
    width = max(scale, 1.0)
    centres = (np.arange(side) + 0.5) * scale
    x = np.abs((np.arange(size) + 0.5 - centres[:, None]) / width)
    inner, outer = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, inner, np.where(x < 2, outer, 0))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize(("height", "width", "side"), [(128, 128, 299), (640, 480, 299), (301, 97, 96)])
def test_it_is_the_antialiased_cubic_of_each_channel_in_floats(height: int, width: int, side: int):
    """clean-fid's rule. At the borders Pillow takes the pixels that a truncated window holds; inside they agree."""
    image = np.random.default_rng(0).integers(60, 190, (height, width, 3), np.uint8)
    rows, columns = cubic(height, side), cubic(width, side)
    channels = [rows @ image[..., i].astype(np.float64) @ columns.T for i in range(3)]
    expected = np.stack(channels, -1).clip(0, 255)
    found = resized(image, side)
    assert found.shape == (side, side, 3) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 2e-3
    assert (found != found.round()).mean() > 0.9  # nothing was rounded to 8 bits


def test_no_value_leaves_the_range():
    """A cubic filter overshoots at edges."""
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 255
    found = resized(edge, 299)
    assert found.min() == 0 and found.max() == 255

"""Images compared."""

from __future__ import annotations

import numpy as np


def apart(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two images, in grey levels."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())

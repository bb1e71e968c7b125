"""How much of an image's surroundings another one keeps: MS-SSIM outside a region.

Wang et al. 2003 with scikit-image's SSIM maps, averaged over the pixels that no window of the region's reaches. Three
scales, not five: of 128 px the fifth would be 8 px wide, less than the window of 11.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation
from skimage.metrics import structural_similarity

WEIGHTS = np.array([0.0448, 0.2856, 0.3001])  # Wang's first three, made to sum to 1 below
MARGIN = 3  # px: two standard deviations of the window, beyond which it has 5 % of its weight
LEAST = 8  # px that must be left at the coarsest scale
FLAT = 1e4  # a K1 so large that SSIM's luminance term is 1 everywhere: contrast and structure remain


def kept(before: np.ndarray, after: np.ndarray, region: np.ndarray) -> float:
    """before, after (H, W, 3) uint8; region (H, W) bool, left out -> 1 where nothing has changed; NaN where the region
    leaves too little to compare."""
    outside, out = ~region, 1.0
    first, second = before.astype(float), after.astype(float)
    weights = WEIGHTS / WEIGHTS.sum()
    for scale, weight in enumerate(weights):
        if scale:
            first, second, outside = _half(first), _half(second), _half(outside[..., None].astype(float))[..., 0] == 1
        clear = ~binary_dilation(~outside, iterations=MARGIN)
        if clear.sum() < LEAST:
            return float("nan")
        last = scale == len(weights) - 1
        _, similar = structural_similarity(
            first, second, data_range=255.0, channel_axis=-1, gaussian_weights=True, use_sample_covariance=False,
            K1=0.01 if last else FLAT, full=True,
        )  # fmt: skip
        out *= max(float(similar[clear].mean()), 0.0) ** weight
    return out


def _half(image: np.ndarray) -> np.ndarray:
    return image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2, -1).mean((1, 3))

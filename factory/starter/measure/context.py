"""How much of the surroundings of a region an edited image keeps: MS-SSIM outside the region (Wang et al. 2003).

scikit-image computes the SSIM maps. They are averaged over the pixels whose window does not reach the region. Three
scales are used instead of five: at the fifth, 128 px are 8 px, less than the window of 11.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation
from skimage.metrics import structural_similarity

SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001])  # Wang's first three, made to sum to 1 below
MARGIN = 3  # px: two standard deviations of the Gaussian window; beyond lies 5 % of its weight
LEAST = 8  # pixels that must be left at the coarsest scale
FLAT = 1e4  # a K1 so large that SSIM's luminance term is 1 everywhere; contrast and structure remain


def context_kept(before: np.ndarray, after: np.ndarray, region: np.ndarray) -> float:
    """MS-SSIM of before and after (H, W, 3) uint8 outside the region (H, W) bool: 1 where nothing has changed, NaN
    where the region leaves too few pixels to compare."""
    outside, product = ~region, 1.0
    first, second = before.astype(float), after.astype(float)
    weights = SCALE_WEIGHTS / SCALE_WEIGHTS.sum()
    for scale, weight in enumerate(weights):
        if scale:
            first, second = _half(first), _half(second)
            outside = _half(outside[..., None].astype(float))[..., 0] == 1
        clear = ~binary_dilation(~outside, iterations=MARGIN)
        if clear.sum() < LEAST:
            return float("nan")
        last = scale == len(weights) - 1
        _, similar = structural_similarity(
            first, second, data_range=255.0, channel_axis=-1, gaussian_weights=True, use_sample_covariance=False,
            K1=0.01 if last else FLAT, full=True,
        )  # fmt: skip
        product *= max(float(similar[clear].mean()), 0.0) ** weight
    return product


def _half(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (H / 2, W / 2, C): the mean of each block of 2 x 2 px."""
    return image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2, -1).mean((1, 3))

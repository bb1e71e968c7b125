"""The distance that a renderer gives, turned into the depth that depth-to-image models are trained on.

Such models were trained on relative INVERSE depth (near = large) in [-1, 1], in which the background lies clearly
behind the people.
"""

from __future__ import annotations

import numpy as np

BACKGROUND_GAP = 0.45  # share of the [-1, 1] range between the body's farthest point and the background


def masked_depth(depth: np.ndarray, object_mask: np.ndarray) -> np.ndarray:
    """d* of Eq. 3, (H, W) float32 m: the depth of the bodies where no object hides them, 0 elsewhere.

    depth (H, W) float32 m, 0 = no body; object_mask (H, W) bool: the union of the non-human masks.
    """
    return np.where(object_mask, 0, depth).astype(np.float32)


def inverse_depth(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    """depth: d* (H, W) m -> (height, width) float32: 1 = nearest point of a body, -1 = background.

    The values are linear in the distance over the body, which fills the part of the range above BACKGROUND_GAP. Cells
    of the coarser grid are means over their pixels: one that a body covers in part lies between body and background,
    so that the outline survives. ValueError for an empty map, which a pipeline would turn into NaN.
    """
    body = depth > 0
    if not body.any():
        raise ValueError("empty depth map")
    near, far = depth[body].min(), depth[body].max()
    closeness = (far - depth) / max(float(far - near), 1e-6)  # 1 = near, 0 = far
    scaled = np.where(body, -1 + 2 * (BACKGROUND_GAP + (1 - BACKGROUND_GAP) * closeness), -1.0)
    rows, columns = depth.shape[0] // height, depth.shape[1] // width
    return scaled.reshape(height, rows, width, columns).mean((1, 3)).astype(np.float32)

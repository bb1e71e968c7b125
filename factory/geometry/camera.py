"""SPIN's weak-perspective camera on a square crop and the perspective camera of the whole image, each from the other.

The weak-perspective camera (s, tx, ty) maps a point (X, Y) m of the body to s (X + tx, Y + ty) on the crop, whose edges
are -1 and 1. It stands for a crop of side CROP that is seen with the focal length FOCAL: only their ratio counts, so a
network may work at any resolution. Perspective cameras are OpenCV's: x right, y down, z forward, px and m.
Formulas: Kissos et al. 2020 (Beyond Weak Perspective), as used by CLIFF and, for the centred crop, by SPIN.

All functions take either numpy arrays or PyTorch tensors and return the same kind. PyTorch is not imported for arrays:
exports, which convert cameras too, start without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", "np.ndarray", "Tensor")
CROP = 224  # px
FOCAL = 5000.0  # px, for an image of CROP px


def full_image_K(width: int, height: int) -> np.ndarray:
    """(3, 3) float32 px: the camera in which the whole image is one crop of CROP px, principal point at its centre."""
    focal = FOCAL * max(width, height) / CROP
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)


def weak_to_transl(camera: Array, crop: Array, K: Array) -> Array:
    """camera (N, 3) = (s, tx, ty); crop (N, 3) = (centre x, centre y, side) px; K (3, 3) or (N, 3, 3) px -> (N, 3) m.

    A body that is moved by the result and projected with K lies on the crop where the weak camera puts it.
    """
    focal, principal = K[..., 0, 0], K[..., :2, 2]
    scale = crop[:, 2] * camera[:, 0] + 1e-9  # px per 2 m; the summand keeps a camera of s = 0 finite
    shift = 2 * (crop[:, :2] - principal) / scale[:, None]
    return _side_by_side(camera[:, 1:] + shift, (2 * focal / scale)[:, None])


def transl_to_weak(transl: Array, crop: Array, K: Array) -> Array:
    """The inverse of `weak_to_transl`, for any perspective camera: transl (N, 3) m -> (N, 3) = (s, tx, ty)."""
    focal, principal = K[..., 0, 0], K[..., :2, 2]
    s = 2 * focal / (crop[:, 2] * transl[:, 2])
    shift = 2 * (crop[:, :2] - principal) / (crop[:, 2] * s)[:, None]
    return _side_by_side(s[:, None], transl[:, :2] - shift)


def project(points: Array, K: Array) -> Array:
    """points (..., P, 3) m in the camera frame, in front of it; K (3, 3) or (..., 3, 3) px -> (..., P, 2) px."""
    if isinstance(points, np.ndarray):
        homogeneous = np.einsum("...ij,...pj->...pi", K, points)
    else:
        homogeneous = points @ K.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def project_on_crop(points: Array, camera: Array) -> Array:
    """points (N, P, 3) m, before any translation; camera (N, 3) = (s, tx, ty) -> (N, P, 2): -1 ... 1 across the crop.

    This is the perspective of a centred crop at the depth 2 FOCAL / (CROP s), as SPIN trains with. It is written
    without a division by s, so that its gradient is smooth where s passes through 0.
    """
    scale = camera[:, None, :1]
    nearness = 1 + scale * points[..., 2:] * CROP / (2 * FOCAL)
    return scale * (points[..., :2] + camera[:, None, 1:]) / nearness


def _side_by_side(left: Array, right: Array) -> Array:
    if isinstance(left, np.ndarray):
        return np.concatenate([left, right], -1)
    import torch

    return torch.cat([left, right], -1)

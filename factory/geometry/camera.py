"""SPIN's weak-perspective camera on a square crop <-> a perspective camera of the whole image (OpenCV axes, px, m).

A crop of side CROP seen with focal length FOCAL: the ratio is what counts, so a network may work at any crop
resolution. Formulas: Kissos et al. 2020 (Beyond Weak Perspective), as used by CLIFF and by SPIN for the centred crop.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CROP = 224  # px
FOCAL = 5000.0  # px, for an image of CROP px


def full_image_K(width: int, height: int) -> np.ndarray:
    """(3, 3) float32 px: the camera in which the whole image is one crop of CROP px, principal point at its centre."""
    focal = FOCAL * max(width, height) / CROP
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)


def weak_to_transl(camera: Tensor, crop: Tensor, K: Tensor) -> Tensor:
    """camera (N, 3) = (s, tx, ty); crop (N, 3) = (centre x, centre y, side) px; K (3, 3) or (N, 3, 3) -> (N, 3) m.

    A body moved by the result and projected with K covers the crop as the weak camera says.
    """
    focal, principal = K[..., 0, 0], K[..., :2, 2]
    scale = crop[:, 2] * camera[:, 0] + 1e-9  # px per 2 m
    shift = 2 * (crop[:, :2] - principal) / scale[:, None]
    return torch.cat([camera[:, 1:] + shift, (2 * focal / scale)[:, None]], -1)


def transl_to_weak(transl: Tensor, crop: Tensor, K: Tensor) -> Tensor:
    """The inverse of `weak_to_transl`, for any perspective camera: transl (N, 3) m -> (N, 3) = (s, tx, ty)."""
    focal, principal = K[..., 0, 0], K[..., :2, 2]
    s = 2 * focal / (crop[:, 2] * transl[:, 2])
    shift = 2 * (crop[:, :2] - principal) / (crop[:, 2] * s)[:, None]
    return torch.cat([s[:, None], transl[:, :2] - shift], -1)


def project(points: Tensor, K: Tensor) -> Tensor:
    """points (..., 3) m in the camera frame, in front of it; K (3, 3) px -> (..., 2) px."""
    homogeneous = points @ K.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]

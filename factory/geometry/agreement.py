"""How well two descriptions of the same people agree: masks, 2D keypoints, 3D joints."""

from __future__ import annotations

import numpy as np

from factory.geometry.joints import BENCHMARK_PART, COCO17_SIGMAS, SPIN49_OF_COCO17

BOX_TO_AREA = 0.53  # a person's area over that of its box: what CrowdPose and others take where no mask is at hand


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks of one shape, bool. 0 where both are empty."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def oks(points: np.ndarray, target: np.ndarray, bbox: np.ndarray) -> np.ndarray:
    """COCO's object keypoint similarity: mean of exp(-d^2 / (2 area (2 sigma)^2)) over the target's keypoints.

    points (N, 49, >=2) px; target (N, 49, 3) px and confidence, 0 = left out, both SPIN-49; bbox (N, 4) px of the
    targets -> (N,) in 0 ... 1; NaN for a target without keypoints.
    """
    picks = list(SPIN49_OF_COCO17)
    squared = ((points[:, picks, :2] - target[:, picks, :2]) ** 2).sum(-1)
    area = BOX_TO_AREA * np.prod(bbox[:, 2:] - bbox[:, :2], axis=1).clip(1)
    here = target[:, picks, 2] > 0
    similar = np.exp(-squared / (2 * area[:, None] * (2 * np.array(COCO17_SIGMAS)) ** 2)) * here
    count = here.sum(1)
    return np.where(count, similar.sum(1) / np.maximum(count, 1), np.nan)


def procrustes(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """points, target (N, J, 3) -> points moved, turned (det +1) and scaled onto target, each sample for itself."""
    mean, goal = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
    x, y = points - mean, target - goal
    u, singular, vt = np.linalg.svd(x.transpose(0, 2, 1) @ y)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    scale = (singular * sign).sum(1) / (x**2).sum((1, 2))
    return scale[:, None, None] * (x @ ((u * sign[:, None]) @ vt)) + goal


def mean_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, J, 3) m twice -> (N,) mm."""
    return 1000 * np.linalg.norm(a - b, axis=-1).mean(1)


def pa_mpjpe(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """SPIN-49 joints (N, 49, >=3) m twice -> (N,) mm over the 14 joints that benchmarks use, after Procrustes."""
    points, target = (joints[:, BENCHMARK_PART, :3].astype(np.float64) for joints in (points, target))
    return mean_distance(procrustes(points, target), target)

"""How well two descriptions of the same people agree: by masks, 2D keypoints or 3D joints."""

from __future__ import annotations

import numpy as np

from factory.geometry.joints import BENCHMARK_PART, COCO17_SIGMAS, SPIN49_OF_COCO17

BOX_TO_AREA = 0.53  # the area of a person over that of its box, as CrowdPose and others take it where masks are missing


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two bool masks of one shape, 0 ... 1; 0 where both are empty."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def oks(points: np.ndarray, target: np.ndarray, bbox: np.ndarray) -> np.ndarray:
    """COCO's object keypoint similarity: the mean of exp(-d^2 / (2 area (2 sigma)^2)) over the target's keypoints.

    points (N, 49, >=2) px; target (N, 49, 3) px and confidence, both in SPIN-49 order; bbox (N, 4) px: of the targets.
    Keypoints of confidence 0 are left out. Returns (N,) in 0 ... 1; NaN for a target without keypoints.
    """
    picks = list(SPIN49_OF_COCO17)
    squared = ((points[:, picks, :2] - target[:, picks, :2]) ** 2).sum(-1)
    area = BOX_TO_AREA * np.prod(bbox[:, 2:] - bbox[:, :2], axis=1).clip(1)
    labelled = target[:, picks, 2] > 0
    similar = np.exp(-squared / (2 * area[:, None] * (2 * np.array(COCO17_SIGMAS)) ** 2)) * labelled
    count = labelled.sum(1)
    return np.where(count, similar.sum(1) / np.maximum(count, 1), np.nan)


def procrustes(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """points, target (N, J, 3) -> (N, J, 3): the points of each sample moved, turned and scaled to lie closest to its
    target in the sum of squares. Reflections are not allowed."""
    mean, goal = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
    x, y = points - mean, target - goal
    u, singular, vt = np.linalg.svd(x.transpose(0, 2, 1) @ y)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    scale = (singular * sign).sum(1) / (x**2).sum((1, 2))
    return scale[:, None, None] * (x @ ((u * sign[:, None]) @ vt)) + goal


def mean_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a, b (N, J, 3) m -> (N,) mm: the mean over the points of their distance."""
    return 1000 * np.linalg.norm(a - b, axis=-1).mean(1)


def pa_mpjpe(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """points, target (N, 49, >=3) m in SPIN-49 order -> (N,) mm: the mean distance, after `procrustes`, of the 14
    joints that benchmarks use."""
    points, target = (joints[:, BENCHMARK_PART, :3].astype(np.float64) for joints in (points, target))
    return mean_distance(procrustes(points, target), target)

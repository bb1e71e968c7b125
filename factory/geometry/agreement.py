"""How well two descriptions of the same people agree: by masks, 2D keypoints or 3D joints."""

from __future__ import annotations

import numpy as np

from factory.geometry.joints import BENCHMARK_PART, COCO17_SIGMAS, SPIN49_OF_COCO17

BOX_TO_AREA = 0.53  # the area of a person over that of its box, as CrowdPose and others take it where masks are missing
PCK_THRESHOLD = 0.1  # of the crop's side: the paper's 22.4 px of 224


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


def procrustes(points: np.ndarray, target: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """points, target (N, J, 3) -> (N, J, 3): the points of each sample moved, turned and scaled to lie closest to its
    target in the sum of squares over the points that are known (N, J) bool; None: all are. Reflections are not
    allowed. A sample without a known point gives NaN."""
    weight = np.ones(points.shape[:2]) if known is None else known.astype(np.float64)
    weight = weight[..., None]
    count = weight.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, goal = ((np.where(weight > 0, each, 0)).sum(1, keepdims=True) / count for each in (points, target))
        x, y = (np.where(weight > 0, each - middle, 0) for each, middle in ((points, mean), (target, goal)))
        u, singular, vt = np.linalg.svd(x.transpose(0, 2, 1) @ y)
        sign = np.ones_like(singular)
        sign[:, 2] = np.sign(np.linalg.det(u @ vt))
        scale = (singular * sign).sum(1) / (x**2).sum((1, 2))
        return scale[:, None, None] * ((points - mean) @ ((u * sign[:, None]) @ vt)) + goal


def mean_distance(a: np.ndarray, b: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """a, b (N, J, 3) m -> (N,) mm: the mean over the points that are known (N, J) bool, None: all, of their distance.
    NaN for a sample without a known point. With both roots in the origin it is the MPJPE."""
    distance = np.linalg.norm(a - b, axis=-1)
    return 1000 * (distance.mean(1) if known is None else known_mean(distance, known))


def aligned_distance(points: np.ndarray, target: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """`mean_distance` after `procrustes`, computed in float64: the PA-MPJPE of whatever joints these are."""
    points, target = points.astype(np.float64), target.astype(np.float64)
    return mean_distance(procrustes(points, target, known), target, known)


def pa_mpjpe(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """points, target (N, 49, >=3) m in SPIN-49 order -> (N,) mm: `aligned_distance` of the 14 joints that benchmarks
    use."""
    return aligned_distance(points[:, BENCHMARK_PART, :3], target[:, BENCHMARK_PART, :3])


def crop_distances(points: np.ndarray, keypoints: np.ndarray, side: np.ndarray) -> np.ndarray:
    """points (N, J, >=2) px; keypoints (N, J, 3) px and confidence; side (N,) px: of each person's crop -> (N, J): the
    distances as shares of the crop's side; NaN where the confidence is below 1, because PCK counts sure points alone.
    """
    distance = np.linalg.norm(points[..., :2] - keypoints[..., :2], axis=-1) / side[:, None]
    return np.where(keypoints[..., 2] >= 1, distance, np.nan)


def pck(distances: np.ndarray, threshold: float = PCK_THRESHOLD) -> np.ndarray:
    """distances (N, J) of `crop_distances` -> (N,) in 0 ... 1: the share of each person's points that are nearer than
    the threshold; NaN for a person without points. The paper's PCK is its mean. An infinite distance is a miss."""
    return known_mean(distances < threshold, ~np.isnan(distances))


def known_mean(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """values, known (N, J) -> (N,): the mean over the known ones; NaN where there are none."""
    count = known.sum(1)
    return np.where(count > 0, np.where(known, values, 0).sum(1) / np.maximum(count, 1), np.nan)

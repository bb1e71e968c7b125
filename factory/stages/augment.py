"""Poses varied in the code of the prior, so that an image gives several bodies (Eq. 8-10; the authors' variant)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from factory.job import AugmentSpec

AUTHORS = 1.5  # their codes lie farther out on average: harder poses


class Prior(Protocol):
    def encode(self, body_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 69) -> mean and standard deviation of the code."""

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """codes -> (N, 63)."""


def vary(
    estimates: list[dict[str, np.ndarray]], seeds: list[int], spec: AugmentSpec, prior: Prior
) -> list[dict[str, np.ndarray]]:
    """One body per row, as estimated, and a seed for each -> the same with another body_pose, and where the job says so
    with another global_orient and other betas. The camera stays, and so do the hands: the prior knows none.
    """
    if not estimates:
        return []
    mean, deviation = prior.encode(np.stack([estimate["body_pose"] for estimate in estimates]))
    draws = [np.random.default_rng(seed) for seed in seeds]
    size = mean.shape[1]
    codes = mean + deviation * np.stack([draw.standard_normal(size) for draw in draws])
    if spec.code == "paper":
        codes = codes * np.stack([1 + spec.s * draw.uniform(-1, 1, size) for draw in draws])
    else:
        codes = codes * np.stack([AUTHORS + spec.s * draw.standard_normal(size) for draw in draws])
    poses = prior.decode(codes)
    return [
        {
            **estimate,
            "body_pose": np.concatenate([pose, estimate["body_pose"][len(pose) :]]).astype(np.float32),
            "global_orient": _turned(estimate["global_orient"], spec.orientation * draw.standard_normal(3)),
            "betas": (estimate["betas"] * (1 + spec.shape * draw.standard_normal(10))).astype(np.float32),
        }
        for estimate, pose, draw in zip(estimates, poses, draws, strict=True)
    ]


def _turned(global_orient: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """The body as seen, turned about the camera's x, y and z."""
    if not degrees.any():
        return global_orient
    jitter = Rotation.from_euler("xyz", degrees, degrees=True)
    return (jitter * Rotation.from_rotvec(global_orient)).as_rotvec().astype(np.float32)

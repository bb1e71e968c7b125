"""Poses varied in the latent code of the prior, so that one image gives several bodies (Eq. 8-10, and the variant of
the authors' code)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from factory.job_stages import AugmentSpec

if TYPE_CHECKING:
    from factory.models.hmr.base import BodyEstimate

AUTHORS = 1.5  # the mean factor of the authors' code: codes farther out are harder poses


class Prior(Protocol):
    """A pose prior with a latent code."""

    def encode(self, body_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 69) -> mean and standard deviation of the code."""

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """codes -> (N, 63)."""


def vary(bodies: BodyEstimate, seeds: list[int], spec: AugmentSpec, prior: Prior) -> BodyEstimate:
    """The bodies of an image with another body_pose each, and where the job says so with another global_orient and
    other betas. seeds: one for each body.

    The camera stays, and so do the hands, which the prior does not know.
    """
    if not len(bodies):
        return bodies
    mean, deviation = prior.encode(bodies.body_pose)
    draws = [np.random.default_rng(seed) for seed in seeds]
    size = mean.shape[1]
    codes = mean + deviation * np.stack([draw.standard_normal(size) for draw in draws])
    if spec.code == "paper":
        codes = codes * np.stack([1 + spec.s * draw.uniform(-1, 1, size) for draw in draws])
    else:
        codes = codes * np.stack([AUTHORS + spec.s * draw.standard_normal(size) for draw in draws])
    poses = prior.decode(codes)
    degrees = [spec.orientation * draw.standard_normal(3) for draw in draws]
    orients = [_turned(*each) for each in zip(bodies.global_orient, degrees, strict=True)]
    factors = np.stack([1 + spec.shape * draw.standard_normal(10) for draw in draws])
    return replace(
        bodies,
        global_orient=np.stack(orients),
        body_pose=np.concatenate([poses, bodies.body_pose[:, poses.shape[1] :]], 1),
        betas=bodies.betas * factors,
    )


def _turned(global_orient: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """global_orient (3,), as it is turned by the camera's x, y and z axes. degrees (3,)."""
    if not degrees.any():
        return global_orient
    jitter = Rotation.from_euler("xyz", degrees, degrees=True)
    return (jitter * Rotation.from_rotvec(global_orient)).as_rotvec().astype(np.float32)

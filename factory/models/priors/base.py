"""The protocol of pose priors, and the one implementation: how far a pose is from everyday ones, by VPoser's code."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from factory.geometry.rotations import matrix_to_axis_angle

BODY = 63  # the 21 joints that VPoser knows, axis-angle: SMPL's body pose without the hands


class PosePrior(Protocol):
    """Scores poses, and varies them by way of a code. body_pose (N, 69) is SMPL's, axis-angle in rad."""

    def score(self, body_pose: np.ndarray, seeds: list[int], mode: str = "sample") -> np.ndarray:
        """body_pose (N, 69), one seed per row -> (N,) float32: the higher, the farther from everyday poses.

        mode `sample`: of one code drawn by the row's seed; `expected`: the mean over all draws.
        """

    def energy(self, body_pose: Tensor) -> Tensor:
        """body_pose (N, 69) on the prior's device -> (N,): |mu|^2, the sum of squares of the code's mean.

        Differentiable with respect to the pose: it is what a fit of a body to keypoints keeps small.
        """

    def encode(self, body_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """body_pose (N, 69) -> mean and standard deviation of its code, (N, 32) float32 each (Eq. 8)."""

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """codes (N, 32) -> (N, 63) float32: the 21 joints that the prior knows, axis-angle in rad (Eq. 10)."""


class VPoserPrior:
    """VPoser (Pavlakos et al. 2019) as a `PosePrior`.

    network: a module with encode: (N, 63) axis-angle -> the normal distribution of its code, (N, 32), and decode:
    (N, 32) -> rotation matrices of 21 joints, (N, 21, 3, 3) or the same numbers in another shape.
    """

    def __init__(self, network: Any, device: str | torch.device = "cpu") -> None:
        self.network, self.device = network.eval().to(device), torch.device(device)

    @torch.no_grad()
    def score(self, body_pose: np.ndarray, seeds: list[int], mode: str = "sample") -> np.ndarray:
        """See `PosePrior`: the sum of squares of a code drawn from N(mu, sigma), or its mean, |mu|^2 + sum sigma^2.

        An everyday pose scores about the length of the code, 32; harder poses score more.
        """
        if not len(body_pose):
            return np.zeros(0, np.float32)
        code = self.network.encode(self._tensor(body_pose))
        if mode == "expected":
            return _squares(code.mean).add(_squares(code.stddev)).cpu().numpy()
        draws = [torch.randn(code.mean.shape[1], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return _squares(code.mean + code.stddev * torch.stack(draws).to(self.device)).cpu().numpy()

    def energy(self, body_pose: Tensor) -> Tensor:
        """See `PosePrior`."""
        return _squares(self.network.encode(body_pose[:, :BODY]).mean)

    @torch.no_grad()
    def encode(self, body_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `PosePrior`."""
        code = self.network.encode(self._tensor(body_pose))
        return code.mean.cpu().numpy(), code.stddev.cpu().numpy()

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """See `PosePrior`."""
        rotations = self.network.decode(torch.as_tensor(np.asarray(codes, np.float32), device=self.device))
        return matrix_to_axis_angle(rotations.view(len(codes), -1, 3, 3)).reshape(len(codes), BODY).cpu().numpy()

    def _tensor(self, body_pose: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(body_pose, np.float32)[:, :BODY], device=self.device)


def _squares(x: Tensor) -> Tensor:
    return x.square().sum(1)

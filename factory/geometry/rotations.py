"""Rotations: axis-angle, matrix, and the 6D form a network regresses (Zhou et al. 2019), in SPIN's memory order.

SPIN reads the six numbers as a row-major (3, 2) array. The two COLUMNS of that array are the first two columns of the
matrix, before these are made orthonormal.
"""

from __future__ import annotations

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import normalize


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 3, 3). Differentiable."""
    from smplx.lbs import batch_rodrigues

    return batch_rodrigues(axis_angle.reshape(-1, 3)).view(*axis_angle.shape[:-1], 3, 3)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3) radians, angle in [0, pi]. Computed in float64 on the CPU; not differentiable."""
    flat = matrix.detach().cpu().double().reshape(-1, 3, 3).numpy()
    return torch.from_numpy(Rotation.from_matrix(flat).as_rotvec()).to(matrix).view(*matrix.shape[:-2], 3)


def sixd_to_matrix(sixd: Tensor) -> Tensor:
    """(..., 6) -> (..., 3, 3) by Gram-Schmidt. Differentiable."""
    columns = sixd.reshape(*sixd.shape[:-1], 3, 2)
    x = normalize(columns[..., 0], dim=-1)
    y = normalize(columns[..., 1] - (x * columns[..., 1]).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def matrix_to_sixd(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 6): the inverse of `sixd_to_matrix` on rotations."""
    return matrix[..., :2].reshape(*matrix.shape[:-2], 6)

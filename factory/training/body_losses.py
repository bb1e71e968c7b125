"""Losses of a network that estimates bodies: SPIN's terms, and the one of a map for each joint.

Shapes: N bodies, J joints. Rotations (N, 24, 3, 3) in the camera frame, betas (N, 10), joints (N, 24, 3) m, weak
camera (N, 3) = (s, tx, ty), 2D joints (N, 24, 2) in crop coordinates: -1 ... 1 from edge to edge.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from factory.geometry.camera import project_on_crop


def body_losses(
    estimate: tuple[Tensor, Tensor, Tensor], joints: Tensor, truth: dict[str, Tensor], true_joints: Tensor
) -> dict[str, Tensor]:
    """SPIN's weighted terms, to be summed: rotations, shape, 3D joints relative to the pelvis, 2D joints, camera.

    estimate: rotations, betas, camera; truth: `rotations`, `betas`, `joints2d`; joints and true_joints: those of the
    two bodies, for example by `BodyModel.skeleton`.
    """
    rotations, betas, camera = estimate
    near = (truth["joints2d"].abs() < 1.2).all(-1)  # a joint far outside the crop is no evidence for the camera
    distance = (project_on_crop(joints, camera) - truth["joints2d"]).abs()
    return {
        "pose": 8 * F.mse_loss(rotations, truth["rotations"]),
        "betas": 0.02 * F.mse_loss(betas, truth["betas"]),
        "joints3d": 12 * F.l1_loss(joints - joints[:, :1], true_joints - true_joints[:, :1]),
        "joints2d": 5 * (distance * near[..., None]).mean(),
        "camera": torch.exp(-10 * camera[:, 0]).clamp(max=100).mean(),  # keeps the body in front of the camera
    }


def map_loss(maps: Tensor, joints2d: Tensor, visible: Tensor) -> Tensor:
    """Mean cross-entropy of each visible joint's map against a Gaussian with a deviation of one cell around the joint.

    maps (N, 24, S, S) logits; joints2d (N, 24, 2); visible (N, 24) bool.
    """
    size = maps.shape[-1]
    cells = (2 * torch.arange(size, device=maps.device) + 1) / size - 1
    near = [(-0.5 * ((cells - joints2d[..., i, None]) * size / 2) ** 2).softmax(-1) for i in (0, 1)]
    target = (near[1][..., :, None] * near[0][..., None, :]).flatten(2)
    error = -(target * maps.flatten(2).log_softmax(-1)).sum(-1)
    return (error * visible).sum() / visible.sum().clamp(min=1)

"""Estimated bodies posed and put into the perspective camera of the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project, weak_to_transl


class CroppedBodies(Protocol):
    """N bodies as an estimator sees them on square crops; `models.hmr.base.BodyEstimate` says what each field holds."""

    @property
    def global_orient(self) -> np.ndarray: ...  # (N, 3)
    @property
    def body_pose(self) -> np.ndarray: ...  # (N, 69)
    @property
    def betas(self) -> np.ndarray: ...  # (N, 10)
    @property
    def camera(self) -> np.ndarray: ...  # (N, 3)
    @property
    def crop(self) -> np.ndarray: ...  # (N, 3)


@dataclass(frozen=True)
class PlacedBodies:
    """N bodies in the camera frame, on the device of the body model.

    transl (N, 3) m, added after posing; vertices (N, 6890, 3) m; joints (N, 49, 3) m in SPIN-49 order;
    K (3, 3) or (N, 3, 3) px.
    """

    transl: Tensor
    vertices: Tensor
    joints: Tensor
    K: Tensor

    @property
    def joints2d(self) -> Tensor:
        """(N, 49, 2) px."""
        return project(self.joints, self.K)

    @property
    def vertices2d(self) -> Tensor:
        """(N, 6890, 2) px."""
        return project(self.vertices, self.K)


def place_bodies(bodies: CroppedBodies, K: np.ndarray, body: BodyModel, camera: Tensor | None = None) -> PlacedBodies:
    """The bodies where their weak-perspective cameras see them. K: (3, 3) or (N, 3, 3) float32 px, of the whole image.

    camera (N, 3), on the device of `body`, is looked through in place of the bodies' own.
    """

    def on_device(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(body.device)

    with torch.inference_mode():
        perspective = on_device(K)
        weak = on_device(bodies.camera) if camera is None else camera
        transl = weak_to_transl(weak, on_device(bodies.crop), perspective)
        pose = on_device(bodies.global_orient), on_device(bodies.body_pose)
        vertices, joints = body(*pose, on_device(bodies.betas), transl)
        return PlacedBodies(transl, vertices, spin49(joints), perspective)

"""SMPL's own 24 joints, posed without its skin: a thousandth of the work of a whole body."""

from __future__ import annotations

import numpy as np
import torch
from smplx.lbs import batch_rigid_transform, batch_rodrigues

from factory.errors import UserError
from factory.export.people import People
from factory.geometry.body import SPIN49, BodyModel
from factory.weights.locate import resolve

JOINTS = 24
OFF = 0.01  # m: more than rounding, less than another body


class Skeleton:
    """Of the body model that a job names. UserError where it is missing."""

    def __init__(self, model: str) -> None:
        self.model = model
        smpl = BodyModel(resolve(model)).smpl
        self.parents = smpl.parents
        self.mean = smpl.J_regressor @ smpl.v_template  # (24, 3) m
        self.spread = torch.einsum("jv,vcs->jcs", smpl.J_regressor, smpl.shapedirs)  # (24, 3, 10)

    def joints3d(self, pose: np.ndarray, betas: np.ndarray, transl: np.ndarray) -> np.ndarray:
        """pose (M, 72), betas (M, 10), transl (M, 3) m -> (M, 24, 3) m, camera frame."""
        with torch.inference_mode():
            rotations = batch_rodrigues(torch.from_numpy(pose).reshape(-1, 3)).view(-1, JOINTS, 3, 3)
            rest = self.mean + torch.einsum("jcs,ms->mjc", self.spread, torch.from_numpy(betas))
            posed, _ = batch_rigid_transform(rotations, rest, self.parents)
            return (posed + torch.from_numpy(transl)[:, None]).numpy()

    def joints2d(self, people: People) -> np.ndarray:
        """(M, 24, 3) float32 px and confidence: 1 inside the image. UserError where the body is not the one that the
        samples were made with."""
        joints = self.joints3d(people.pose, people.betas, people.transl)
        shared = [i for i, joint in enumerate(SPIN49) if joint < JOINTS]
        stored = people.joints3d[:, shared, :3]
        if len(joints) and np.abs(joints[:, [SPIN49[i] for i in shared]] - stored).max() > OFF:
            raise UserError(f"body.model: {self.model} is not the body that the samples' joints belong to")
        projected = np.einsum("mij,mpj->mpi", people.K, joints)
        pixels = projected[..., :2] / projected[..., 2:]
        inside = ((pixels >= 0) & (pixels < people.size[:, None])).all(-1, keepdims=True)
        return np.concatenate([pixels, inside], -1).astype(np.float32)

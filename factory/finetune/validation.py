"""What the curve of a training shows: the errors of the network on people that it is not trained on.

They are those of `factory evaluate hmr`, but for the joints of a body with a regressor of Human3.6M's joints: the curve
measures every body by its own joints.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.finetune.crops import Crops
from factory.finetune.curve import Figures
from factory.finetune.methods import estimate
from factory.finetune.network_files import HMR
from factory.geometry.agreement import aligned_distance, crop_distances, mean_distance, pck
from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.joints import J24_PART
from factory.geometry.rotations import axis_angle_to_matrix
from factory.labelled.base import LabelledPeople
from factory.labelled.skeletons import RootedJoints, body_joints, labelled_joints, scored_joints


class Validation:
    """Measures a network on people with bodies or 3D joints (MPJPE and PA-MPJPE, mm) and with 2D keypoints (PCK, %).

    criterion: the figure that the best weights are chosen by, with a minus where more is better.
    """

    def __init__(self, crops: Crops, body: BodyModel) -> None:
        """UserError: the people have nothing to measure by."""
        self.crops, self.body = crops, body
        people = crops.people
        self.sure = crops.labels.keypoints[:, J24_PART].cpu().numpy()
        self.truth = _true_joints(people, body)
        self.joints = list(scored_joints(people.skeleton))
        known = self.truth is not None and self.truth.known[:, self.joints].any()
        if not known and not (self.sure[..., 2] >= 1).any():
            raise UserError(f"--validation {people.name}: has no bodies, 3D joints or 2D keypoints to measure by")
        self.criterion = "PA-MPJPE" if known else "-PCK"

    @torch.no_grad()
    def __call__(self, network: HMR) -> Figures:
        """The means over the people. UserError: the network answers with NaN."""
        rotations, betas, camera = estimate(network, self.crops)
        joints = spin49(self.body.joints54(rotations, betas))[:, J24_PART]
        seen = project_on_crop(joints, camera)
        if not (joints.isfinite().all() and seen.isfinite().all()):
            raise UserError(
                "the network answers with NaN, the training has diverged; give a lower --rate, another --out"
            )
        figures: Figures = {}
        if self.criterion == "PA-MPJPE" and self.truth is not None:
            found = body_joints(_float64(joints))
            known = (found.known & self.truth.known)[:, self.joints]
            points, target = found.points[:, self.joints], self.truth.points[:, self.joints]
            figures["PA-MPJPE"] = float(np.nanmean(aligned_distance(points, target, known)))
            figures["MPJPE"] = float(np.nanmean(mean_distance(points, target, known)))
        if (self.sure[..., 2] >= 1).any():
            two = np.full(len(self.sure), 2.0)  # the side of a crop in its own coordinates
            figures["PCK"] = float(100 * np.nanmean(pck(crop_distances(_float64(seen), self.sure, two))))
        return figures


def _true_joints(people: LabelledPeople, body: BodyModel) -> RootedJoints | None:
    """The joints of the people's bodies, and of people without a body those of `joints3d`; None: nobody has either."""
    truth = None
    if people.joints3d is not None and people.skeleton is not None:
        truth = labelled_joints(people.joints3d, people.skeleton)
    if people.pose is None or people.betas is None:
        return truth
    rows = np.flatnonzero(np.isfinite(people.pose).all(1) & np.isfinite(people.betas).all(1))
    with torch.no_grad():
        pose, betas = (torch.from_numpy(values[rows]).to(body.device) for values in (people.pose, people.betas))
        joints = spin49(body.joints54(axis_angle_to_matrix(pose.view(-1, 24, 3)), betas))[:, J24_PART]
    posed = body_joints(_float64(joints))
    if truth is None:
        count = len(people)
        truth = RootedJoints(np.zeros((count, 17, 3)), np.zeros((count, 17), bool), np.zeros((count, 1, 3)))
    for values, own in zip(truth, posed, strict=True):
        values[rows] = own
    return truth


def _float64(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()

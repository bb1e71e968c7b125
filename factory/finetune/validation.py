"""What the curve of a training shows: the errors of the network on people that it is not trained on."""

from __future__ import annotations

import numpy as np
import torch

from factory.errors import UserError
from factory.finetune.crops import Crops
from factory.finetune.curve import Figures
from factory.finetune.methods import estimate
from factory.finetune.network_files import HMR
from factory.geometry.agreement import mean_distance, pa_mpjpe
from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.joints import BENCHMARK_PART, J24_PART

PELVIS = 8  # of SPIN-49
NEAR = 0.2  # of half a crop: 22.4 px of 224


class Validation:
    """Measures a network on people with bodies (PA-MPJPE, MPJPE in mm) or else with 2D keypoints (PCK, 0 ... 1).

    criterion: the figure that the best weights are chosen by, with a minus where more is better.
    """

    def __init__(self, crops: Crops, body: BodyModel) -> None:
        self.crops, self.body = crops, body
        self.known = crops.labels.keypoints[:, J24_PART, 2] > 0
        self.three_d = crops.labels.rotations is not None
        if not self.three_d and not self.known.any():
            raise UserError(f"--validation {crops.people.name}: has neither bodies nor 2D keypoints to measure by")
        self.criterion = "pa_mpjpe" if self.three_d else "-pck"

    @torch.no_grad()
    def __call__(self, network: HMR) -> Figures:
        """The means over the people."""
        rotations, betas, camera = estimate(network, self.crops)
        joints = spin49(self.body.joints54(rotations, betas))
        figures: Figures = {}
        labels = self.crops.labels
        if labels.rotations is not None and labels.betas is not None:
            truth = spin49(self.body.joints54(labels.rotations, labels.betas)).cpu().numpy()
            found = joints.cpu().numpy()
            figures["pa_mpjpe"] = float(pa_mpjpe(found, truth).mean())
            figures["mpjpe"] = float(mean_distance(_rooted(found), _rooted(truth)).mean())
        if self.known.any():
            seen = project_on_crop(joints, camera)[:, J24_PART]
            near = (seen - labels.keypoints[:, J24_PART, :2]).norm(dim=-1) < NEAR
            count = self.known.sum(1)
            share = (near & self.known).sum(1) / count.clamp(min=1)
            figures["pck"] = float(share[count > 0].mean())
        return figures


def _rooted(joints: np.ndarray) -> np.ndarray:
    return (joints - joints[:, PELVIS : PELVIS + 1])[:, BENCHMARK_PART]

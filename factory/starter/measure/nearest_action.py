"""The action whose poses are nearest to a given pose: the measure behind "prompt followed".

An action stands as a set of drawn poses. Its distance to a pose is the mean over the NEIGHBOURS nearest members of the
set, because an action is several key poses and what lies between them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from factory.geometry.body import BodyModel
from factory.geometry.rotations import axis_angle_to_matrix
from factory.starter.world.actions import ACTIONS, sample_pose
from factory.starter.world.pose import to_smpl

MEMBERS, NEIGHBOURS = 400, 5
# m, about the distance of a joint from the pelvis: the weight of turning the whole body against moving a limb.
REACH = 0.5
UP_WORLD, UP_CAMERA = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)


class NearestAction:
    """Reference poses of every action, drawn by a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.names = list(ACTIONS)
        self.body = BodyModel("starter:body")
        rng = np.random.default_rng(seed)
        self.trees = []
        for action in ACTIONS.values():
            poses = np.stack([to_smpl(sample_pose(action, rng)).reshape(72) for _ in range(MEMBERS)])
            self.trees.append(cKDTree(self.describe(poses, UP_WORLD)))

    def describe(self, poses: np.ndarray, up: tuple[float, float, float]) -> np.ndarray:
        """poses (N, 72) axis-angle -> (N, 75): the joints relative to the pelvis, and `up`, both in the body's frame.

        Turning the body about the vertical changes nothing. up: of the poses' frame; the tilt of a camera is neglected.
        """
        rotations = axis_angle_to_matrix(torch.from_numpy(np.asarray(poses, np.float32).reshape(-1, 24, 3)))
        above = rotations[:, 0].transpose(1, 2) @ torch.tensor(up)
        rotations[:, 0] = torch.eye(3)
        joints = self.body.skeleton(rotations, torch.zeros(len(poses), 10))
        joints = (joints - joints[:, :1]) / 24**0.5  # makes a distance the root mean square over the joints
        return torch.cat([joints.flatten(1), REACH * above], 1).numpy()

    def rank(self, poses: np.ndarray, among: list[str] | None = None) -> list[list[str]]:
        """poses (N, 72) in the camera frame -> for each all actions, nearest first. among: leave out all others."""
        described = self.describe(poses, UP_CAMERA)
        distance = np.stack([tree.query(described, NEIGHBOURS)[0].mean(1) for tree in self.trees], 1)
        order = [[self.names[i] for i in row] for row in distance.argsort(1)]
        return [[name for name in row if among is None or name in among] for row in order]

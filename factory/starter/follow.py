"""Which action is a pose of? The nearest of the world's action distributions, from the pose alone.

A distribution is a set of drawn poses; its distance to a pose is the mean over its NEIGHBOURS nearest members, because
an action is several key poses and what lies between them. The measure behind "prompt followed".
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from factory.geometry.rotations import axis_angle_to_matrix
from factory.starter.pack import resolve
from factory.starter.people import Skeleton
from factory.starter.world.actions import ACTIONS, sample_pose
from factory.starter.world.pose import to_smpl

MEMBERS, NEIGHBOURS = 400, 5
REACH = 0.5  # m, about a joint's distance from the pelvis: what turning the whole body is worth against moving a limb
UP_WORLD, UP_CAMERA = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)


class Actions:
    """Reference poses of every action, deterministic by seed."""

    def __init__(self, seed: int = 0) -> None:
        self.names = list(ACTIONS)
        self.skeleton = Skeleton(resolve("starter:body"))
        rng = np.random.default_rng(seed)
        self.trees = []
        for action in ACTIONS.values():
            poses = np.stack([to_smpl(sample_pose(action, rng)).reshape(72) for _ in range(MEMBERS)])
            self.trees.append(cKDTree(self.describe(poses, UP_WORLD)))

    def describe(self, poses: np.ndarray, up: tuple[float, float, float]) -> np.ndarray:
        """poses (N, 72) axis-angle -> (N, 75): the joints from the pelvis and where up is, both in the body's own
        frame. So it does not matter which way the body faces; a camera's small tilt is neglected."""
        rotations = axis_angle_to_matrix(torch.from_numpy(np.asarray(poses, np.float32).reshape(-1, 24, 3)))
        above = rotations[:, 0].transpose(1, 2) @ torch.tensor(up)
        rotations[:, 0] = torch.eye(3)
        joints = self.skeleton.joints(rotations, torch.zeros(len(poses), 10))
        joints = (joints - joints[:, :1]) / 24**0.5  # distances are then root mean squares over the joints
        return torch.cat([joints.flatten(1), REACH * above], 1).numpy()

    def rank(self, poses: np.ndarray, among: list[str] | None = None) -> list[list[str]]:
        """poses (N, 72) in a camera's frame -> for each the actions (or those `among` them), nearest first."""
        described = self.describe(poses, UP_CAMERA)
        distance = np.stack([tree.query(described, NEIGHBOURS)[0].mean(1) for tree in self.trees], 1)
        order = [[self.names[i] for i in row] for row in distance.argsort(1)]
        return [[name for name in row if among is None or name in among] for row in order]

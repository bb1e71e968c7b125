"""3D joints of either skeleton, and of posed bodies, as Human3.6M's 17 joints with the pelvis in the origin: errors in
mm are measured between these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factory.geometry.joints import (
    H36M17,
    J24,
    J24_OF_H36M17,
    LSP14_OF_H36M17,
    REGRESSOR_ROW_OF_H36M17,
    SKI16_OF_H36M17,
)
from factory.labelled import base

PELVIS, HEAD = H36M17.index("pelvis"), H36M17.index("head_h36m")
HIPS = [H36M17.index("left_hip"), H36M17.index("right_hip")]
HEAD_TOP = J24.index("head_top")


class RootedJoints(NamedTuple):
    """points (N, 17, 3) float64 m in the order of geometry.joints.H36M17, from the root; known (N, 17) bool: which of
    them are; root (N, 1, 3) m: where the root was, the pelvis or else the middle of the hips."""

    points: np.ndarray
    known: np.ndarray
    root: np.ndarray


def scored_joints(skeleton: str | None) -> tuple[int, ...]:
    """The numbers in H36M17 of the joints that count: Ski-Pose's 16 for its skeleton, else the 14 of 3DPW and
    Human3.6M."""
    return SKI16_OF_H36M17 if skeleton == base.SKELETON_H36M17 else LSP14_OF_H36M17


def labelled_joints(joints3d: np.ndarray, skeleton: str) -> RootedJoints:
    """joints3d (N, J, 4) m and confidence, as `LabelledPeople` has them. A joint is known where its confidence is above
    0. People whose pelvis and hips are unknown have no known joint."""
    if skeleton == base.SKELETON_J24:
        joints3d = in_h36m17_order(joints3d)
    return _rooted(joints3d[..., :3].astype(np.float64), joints3d[..., 3] > 0)


def body_joints(j24: np.ndarray) -> RootedJoints:
    """j24 (N, 24, 3) m of a posed body, all of them known."""
    return labelled_joints(np.concatenate([j24, np.ones((*j24.shape[:2], 1))], 2), base.SKELETON_J24)


def regressed_joints(vertices: np.ndarray, regressor: np.ndarray) -> RootedJoints:
    """vertices (N, V, 3) m; regressor (17, V), or (14, V) for LSP's joints alone: the rows of J_regressor_h36m.npy."""
    regressed = regressor.astype(np.float64) @ vertices.astype(np.float64)
    points, known = np.zeros((len(vertices), 17, 3)), np.zeros((len(vertices), 17), bool)
    if len(regressor) == len(H36M17):
        points, known = regressed[:, REGRESSOR_ROW_OF_H36M17], ~known
    else:
        points[:, LSP14_OF_H36M17], known[:, LSP14_OF_H36M17] = regressed, True
    return _rooted(points, known)


def in_h36m17_order(j24: np.ndarray) -> np.ndarray:
    """j24 (N, 24, 4), the last number the confidence -> (N, 17, 4). Where Human3.6M's head is unknown, LSP's top of the
    head stands for it."""
    joints = j24[:, J24_OF_H36M17].copy()
    without = joints[:, HEAD, 3] <= 0
    joints[without, HEAD] = j24[without, HEAD_TOP]
    return joints


def _rooted(points: np.ndarray, known: np.ndarray) -> RootedJoints:
    root = np.where(known[:, [PELVIS], None], points[:, [PELVIS]], points[:, HIPS].mean(1, keepdims=True))
    rooted = known[:, [PELVIS]] | known[:, HIPS].all(1, keepdims=True)
    return RootedJoints(points - root, known & rooted, root)

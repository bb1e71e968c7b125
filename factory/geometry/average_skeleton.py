"""SMPL's joints of an average grown-up in any pose, from numpy alone: for labels whose body model is not at hand."""

from __future__ import annotations

import numpy as np

from factory.geometry.joints import SMPL_PARENTS

REST = np.array(  # (24, 3) m: SMPL's joints of the open body, arms stretched out; x to its left, y up, z to its front
    [(0, -.23, .02), (.11, -.24, .01), (-.11, -.24, .01), (0, -.15, -.02), (.13, -.63, .01), (-.13, -.63, .01),
     (0, 0, 0), (.13, -1.05, .01), (-.13, -1.05, .01), (0, .13, -.01), (.15, -1.1, .15), (-.15, -1.1, .15),
     (0, .31, .02), (.02, .24, .03), (-.02, .24, .03), (0, .41, .05), (.18, .23, .03), (-.18, .23, .03),
     (.44, .23, .03), (-.44, .23, .03), (.67, .23, .03), (-.67, .23, .03), (.77, .22, .02), (-.77, .22, .02)]
)  # fmt: skip
TURNED = 22  # joints whose rotation counts: the hands are the ends of the chain, nothing hangs on them


def average_joints(pose: np.ndarray) -> np.ndarray:
    """pose (M, >= 66): axis-angles in radians, root first -> (M, 24, 3) m, in the frame of the pose."""
    from scipy.spatial.transform import Rotation

    count = pose.shape[1] // 3
    turns = Rotation.from_rotvec(pose[:, : 3 * count].reshape(-1, 3).astype(np.float64)).as_matrix()
    turns = turns.reshape(len(pose), count, 3, 3)
    orientations, joints = [turns[:, 0]], [np.tile(REST[0], (len(pose), 1))]
    for joint in range(1, len(REST)):
        parent = SMPL_PARENTS[joint]
        joints.append(joints[parent] + orientations[parent] @ (REST[joint] - REST[parent]))
        known = joint < min(count, TURNED)
        orientations.append(orientations[parent] @ turns[:, joint] if known else orientations[parent])
    return np.stack(joints, 1)

"""A mask of each person in the final image, made from the depth map that guided it: the label's mask, not a detector's.

The stored person mask cannot be used: it is of the initial image and covers all people together.
"""

from __future__ import annotations

import numpy as np

from factory.export.source import ExportSample

# Pairs of joints of OpenPose-25: limbs, feet, spine, and the sides of the trunk.
BONES = np.array([(0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11), (11, 22),
                  (8, 12), (12, 13), (13, 14), (14, 19), (2, 9), (5, 12)])  # fmt: skip
STEPS = np.linspace(0, 1, 6)[:, None, None]  # points along each bone, from its first joint (0) to its second (1)


def seen(sample: ExportSample) -> np.ndarray | None:
    """(P, H, W) bool, a mask for each person; None when the data set holds no depth maps. Each pixel of the depth map
    is given to the person whose bone is nearest to it in space."""
    if sample.depth is None:
        return None
    depth, joints = sample.depth, sample.people["joints3d"][..., :3]
    if len(joints) < 2:
        return np.repeat(depth[None] > 0, len(joints), 0)
    from scipy.spatial import KDTree

    rows, columns = np.nonzero(depth)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    points = np.linalg.solve(sample.people["K"][0].astype(np.float64), pixels).T * depth[rows, columns, None]
    masks = np.zeros((len(joints), *depth.shape), bool)
    bones = joints[:, None, BONES[:, 0]] * (1 - STEPS) + joints[:, None, BONES[:, 1]] * STEPS  # (P, steps, bones, 3)
    masks[KDTree(bones.reshape(-1, 3)).query(points)[1] // bones[0, ..., 0].size, rows, columns] = True
    return masks

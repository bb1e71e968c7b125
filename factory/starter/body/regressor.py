"""Joints as sparse convex means of vertices: SMPL's 24, and the 9 that SPIN's 54-joint set adds."""

import numpy as np
from scipy.optimize import nnls

from factory.geometry.joints import EXTRA9, FLIP24, SMPL24, SMPL_PARENTS, mirrored

from .skeleton import joint

DIRECTIONS = 160  # vertices offered to a joint, one in each direction around it


def extra_targets(vertices, joints, nose, crown):
    """Where the nine extra joints are, (n, 9, 3) m, for people in any pose.

    vertices (n, v, 3), joints (n, 24, 3); nose, crown: vertex indices. Definitions, after what the datasets annotate:
    LSP hips: the hip centres moved outwards by a tenth of the hip width. LSP neck: a third of the way from the neck to
    the head joint. Head top: the crown. MPII pelvis: between the hips. MPII thorax: between the shoulders. H36M spine:
    the spine2 joint, which is halfway between those two. H36M jaw: halfway between the head joint and the nose. H36M
    head: three quarters of the way from the head joint to the crown.
    """
    at = lambda name: joints[:, joint(name)]  # noqa: E731
    mix = lambda a, b, share: a + share * (b - a)  # noqa: E731
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


def joint_regressor(vertices, joints, weights, mirror):
    """(24, v) rows, each sparse, non-negative and summing to 1, that give people's joints.

    vertices (n, v, 3), joints (n, 24, 3) m, of which the first is in the T-pose; weights (v, 24) skin; mirror (v,):
    paired vertices.
    """
    parts = [
        [j, max(SMPL_PARENTS[j], 0)] + [c for c, p in enumerate(SMPL_PARENTS) if p == j] for j in range(len(SMPL24))
    ]
    return _regressor(vertices, joints, [weights[:, part].sum(1) > 0.3 for part in parts], mirror, np.array(FLIP24))


def extra_regressor(vertices, targets, weights, mirror):
    """(9, v) rows for `extra_targets`, made as `joint_regressor` makes its own, from vertices near by only."""
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


def _regressor(vertices, targets, allowed, mirror, other):
    mean, rows = vertices[0], np.zeros((targets.shape[1], vertices.shape[1]))
    for j in range(len(rows)):
        pick = _around(mean, targets[0, j], allowed[j])
        # One equation a person and axis, all relative to the joint, and a heavy one for the sum.
        system = (vertices[:, pick] - targets[:, j, None]).transpose(0, 2, 1).reshape(-1, len(pick))
        heavy = 10 * np.sqrt(len(system))
        solution = nnls(np.vstack([system, np.full(len(pick), heavy)]), np.append(np.zeros(len(system)), heavy))[0]
        rows[j, pick] = np.where(solution < 1e-4, 0, solution)
    rows = (rows + rows[other][:, mirror]) / 2
    return rows / rows.sum(1, keepdims=True)


def _around(vertices, centre, allowed):
    """Indices of allowed vertices all around a point: for each ray of a spherical spiral the one nearest to it."""
    k = np.arange(DIRECTIONS) + 0.5
    height, turn = 1 - 2 * k / DIRECTIONS, np.pi * (1 + 5**0.5) * k
    width = np.sqrt(1 - height**2)
    rays = np.stack([width * np.cos(turn), height, width * np.sin(turn)], 1)
    index = np.flatnonzero(allowed)
    offset = vertices[index] - centre
    length = np.linalg.norm(offset, axis=1)
    cosine = rays @ (offset / np.maximum(length, 1e-6)[:, None]).T
    return np.unique(index[(cosine - 0.5 * length).argmax(1)])

"""The metrics behind the README's figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from factory.models.agreement import iou, mean_distance, procrustes
from factory.starter.evaluate import auc


def test_procrustes_undoes_a_similarity_and_refuses_a_reflection():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(5, 14, 3))
    turn = Rotation.random(5, random_state=1).as_matrix()
    moved = 1.7 * target @ turn + rng.normal(size=(5, 1, 3))
    assert mean_distance(procrustes(moved, target), target).max() < 1e-6
    assert mean_distance(procrustes(target * [-1, 1, 1], target), target).min() > 100


def test_distances_are_millimetres():
    zero = np.zeros((2, 3, 3))
    assert mean_distance(zero, zero + [0, 0.003, 0.004]) == pytest.approx([5, 5])


def test_auc_and_iou():
    assert auc(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1
    assert auc(np.array([1.0, 4.0]), np.array([2.0, 3.0])) == 0.5
    assert iou(np.array([True, True, False]), np.array([False, True, True])) == pytest.approx(1 / 3)

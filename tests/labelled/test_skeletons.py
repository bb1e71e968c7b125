"""Joints of different skeletons meet in Human3.6M's order, the pelvis in the origin."""

from __future__ import annotations

import numpy as np
import pytest

from factory.geometry.joints import H36M17, J24
from factory.labelled.skeletons import body_joints, labelled_joints, regressed_joints, scored_joints

RNG = np.random.default_rng(0)
REGRESSED = (  # the rows of SPIN's J_regressor_h36m.npy
    "pelvis left_hip left_knee left_ankle right_hip right_knee right_ankle spine_h36m thorax jaw_h36m head_h36m "
    "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist"
).split()
LSP14 = (  # of benchmarks
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder "
    "left_shoulder left_elbow left_wrist thorax head_h36m"
).split()


def test_benchmarks_pick_the_joints_that_spins_code_picks():
    spins = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]
    assert [H36M17[j] for j in scored_joints("j24")] == [REGRESSED[j] for j in spins] == LSP14
    assert [H36M17[j] for j in scored_joints("h36m17")] == [name for name in H36M17 if name != "jaw_h36m"]


def test_spins_joints_of_human36m():
    """SPIN stores the 17 joints of Human3.6M at these places of the 24."""
    places = [14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6]
    s17, s24 = RNG.normal(size=(2, 17, 3)), np.zeros((2, 24, 4))
    s24[:, places, :3], s24[:, places, 3] = s17, 1
    found = labelled_joints(s24, "j24")
    for row, name in enumerate(REGRESSED):
        np.testing.assert_allclose(found.points[:, H36M17.index(name)], s17[:, row] - s17[:, 0], err_msg=name)
    assert found.known.all()


def test_a_regressor_has_the_left_leg_first():
    vertices, regressor = RNG.normal(size=(2, 50, 3)), RNG.uniform(size=(17, 50))
    found = regressed_joints(vertices, regressor)
    regressed = regressor @ vertices
    for row, name in enumerate(REGRESSED):
        np.testing.assert_allclose(
            found.points[:, H36M17.index(name)], regressed[:, row] - regressed[:, 0], err_msg=name
        )
    np.testing.assert_allclose(found.root[:, 0], regressed[:, 0])


def test_a_regressor_of_14_rows_has_its_root_between_the_hips():
    vertices, regressor = RNG.normal(size=(2, 50, 3)), RNG.uniform(size=(14, 50))
    found = regressed_joints(vertices, regressor)
    regressed = regressor @ vertices
    root = regressed[:, [LSP14.index("left_hip"), LSP14.index("right_hip")]].mean(1)
    for row, name in enumerate(LSP14):
        np.testing.assert_allclose(found.points[:, H36M17.index(name)], regressed[:, row] - root, err_msg=name)
    assert found.known.sum(1).tolist() == [14, 14]


def test_joints_without_a_root_cannot_be_compared():
    joints = np.ones((3, 24, 4))
    joints[1:, J24.index("pelvis_mpii"), 3] = 0
    joints[2, J24.index("left_hip_lsp"), 3] = 0
    assert labelled_joints(joints, "j24").known.sum(1).tolist() == [17, 16, 0]


def test_the_top_of_the_head_stands_for_an_unknown_head():
    joints = RNG.normal(size=(1, 24, 4))
    joints[..., 3] = 1
    head = H36M17.index("head_h36m")
    own = body_joints(joints[..., :3])
    np.testing.assert_allclose(own.points[0, head], (joints[0, 18] - joints[0, 14])[:3])
    joints[0, J24.index("head_h36m"), 3] = 0
    np.testing.assert_allclose(labelled_joints(joints, "j24").points[0, head], (joints[0, 13] - joints[0, 14])[:3])


@pytest.mark.parametrize("skeleton", ["j24", "h36m17"])
def test_scored_joints_are_distinct(skeleton):
    assert len(set(scored_joints(skeleton))) == len(scored_joints(skeleton)) == {"j24": 14, "h36m17": 16}[skeleton]

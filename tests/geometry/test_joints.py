"""The tables of joints against what smplx, SPIN, COCO and MMHuman3D write down."""

from __future__ import annotations

import numpy as np
import pytest

from factory.geometry import joints


def test_smplx_gives_the_54_joints_under_these_numbers() -> None:
    from smplx.vertex_ids import vertex_ids
    from smplx.vertex_joint_selector import VertexJointSelector

    sides = {"left": "l", "right": "r"}
    feet = {"big_toe": "BigToe", "small_toe": "SmallToe", "heel": "Heel"}

    def smplx_name(name: str) -> str:
        side, _, part = name.partition("_")
        if part in feet:
            return sides[side].upper() + feet[part]
        return name if name == "nose" else sides[side] + part

    vertices = VertexJointSelector(vertex_ids["smplh"]).extra_joints_idxs.tolist()
    assert vertices == [vertex_ids["smplh"][smplx_name(name)] for name in joints.LANDMARKS]
    assert len(joints.SMPL24) == 24 and len(joints.JOINTS54) == len(set(joints.JOINTS54)) == 54


def test_spin49_is_picked_from_the_54_as_spin_does() -> None:
    """SPIN's constants.JOINT_MAP, of its JOINT_NAMES."""
    openpose = (24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34)
    own = (8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27)
    assert joints.JOINT54_OF_SPIN49 == (*openpose, *own)
    assert sum(joint is not None for joint in joints.SMPL_OF_SPIN49) == 14 + 10
    assert joints.SMPL_OF_SPIN49[8] == 0 and joints.SMPL_OF_SPIN49[25 + 2] is None


def test_mirrored_joints_are_spins() -> None:
    """SPIN's constants.SMPL_JOINTS_FLIP_PERM and J49_FLIP_PERM."""
    smpl = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22)
    openpose = (0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21)
    own = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16, 17, 18, 19, 21, 20, 23, 22)
    assert joints.FLIP24 == smpl and joints.FLIP_J24 == own
    assert joints.FLIP49 == (*openpose, *(25 + joint for joint in own))
    with pytest.raises(ValueError, match="right_eye"):
        joints.mirrored(["left_eye"])


@pytest.mark.parametrize(
    ("torsos", "order"),
    [
        (joints.OPENPOSE_TORSOS, joints.OPENPOSE25),
        (joints.J24_TORSOS, joints.SPIN49),
        (joints.H36M_TORSOS, joints.H36M17),
    ],
)
def test_a_torso_is_the_shoulder_and_the_hip_of_one_side(torsos: tuple, order: tuple) -> None:
    names = [[order[joint].removesuffix("_lsp") for joint in pair] for pair in torsos]
    assert names == [["right_shoulder", "right_hip"], ["left_shoulder", "left_hip"]]


def test_legs_and_parents_are_of_one_tree() -> None:
    names = [[joints.SMPL24[joint] for joint in pair] for pair in joints.SMPL_LEGS]
    assert names == [[f"{side}_{a}", f"{side}_{b}"] for side in ("left", "right") for a, b in
                     (("hip", "knee"), ("knee", "ankle"))]  # fmt: skip
    assert all(joints.SMPL_PARENTS[child] == parent for parent, child in joints.SMPL_LEGS)


def test_twins_are_joints_that_two_halves_of_spin49_name() -> None:
    assert {joints.OPENPOSE25[a] for a, _ in joints.TWINS} == {joints.J24[b] for _, b in joints.TWINS}
    assert len(joints.TWINS) == 10 and all(joints.OPENPOSE25[a] == joints.J24[b] for a, b in joints.TWINS)


def test_what_openpose_has_of_smpls_joints() -> None:
    for smpl, openpose in enumerate(joints.OPENPOSE_OF_SMPL):
        assert openpose is None or joints.SMPL_OF_SPIN49[openpose] == smpl
    assert sum(openpose is not None for openpose in joints.OPENPOSE_OF_SMPL) == 14


def test_each_joint_has_the_number_of_its_kind_in_humandata() -> None:
    """HumanData's first 22 are SMPL's; then its nose, eyes, ... from 55; its extra joints from 144."""
    places = {**{i: i for i in range(22)}, **{i: i + 31 for i in range(24, 35)}, **{i: i + 99 for i in range(45, 54)}}
    assert joints.HUMANDATA_OF_SPIN49[:25] == tuple(range(153, 178))
    assert list(joints.HUMANDATA_OF_SPIN49[25:]) == [places[joint] for joint in joints.JOINT54_OF_SPIN49[25:]]
    numbered = enumerate(joints.JOINT54_OF_SPIN49[:25])
    assert joints.HUMANDATA_OF_OPENPOSE == {i: joint for i, joint in numbered if joint in (0, 1, 2, 12)}


def test_average_joints_are_the_open_bodys_within_a_few_centimetres() -> None:
    """In any pose, and in the pose's own frame: the two ways to pose a skeleton agree."""
    import torch

    from factory.geometry.average_skeleton import average_joints
    from factory.geometry.body import BodyModel
    from factory.geometry.rotations import axis_angle_to_matrix

    pose = np.random.default_rng(0).uniform(-0.6, 0.6, (8, 72)).astype(np.float32)
    rotations = axis_angle_to_matrix(torch.from_numpy(pose).view(8, 24, 3))
    exact = BodyModel("starter:body").skeleton(rotations, torch.zeros(8, 10)).numpy()
    assert np.linalg.norm(average_joints(pose) - exact, axis=-1).max() < 0.1
    np.testing.assert_allclose(average_joints(pose[:, :66]), average_joints(pose), atol=1e-12)  # hands end the chain

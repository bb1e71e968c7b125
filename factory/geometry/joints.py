"""All tables of joints: their names in each order, the parents, the mirror images, and which joint of one order is
which joint of another.

The orders:
SMPL24      the joints of the body model itself.
JOINTS54    what `body.BodyModel` gives: SMPL24, then 21 vertices of the mesh (LANDMARKS), then 9 joints that a second
            regressor of SPIN's gives (EXTRA9), named after the data sets that annotate them.
OPENPOSE25  OpenPose's BODY_25. Its mid hip is called pelvis here and its hips and neck are SMPL's.
J24         the 24 joints of SPIN's ground truth: 14 of LSP, which benchmarks use, then of MPII, Human3.6M and COCO.
SPIN49      OPENPOSE25 and then J24: the order of joints2d and joints3d in samples.
COCO17      COCO's keypoints.
H36M17      the 17 joints of Human3.6M that Ski-Pose uses.
HumanData   MMHuman3D's 190 keypoints, of which only the numbers of the joints above are written down.

A table A_OF_B holds, for each joint of the order B, the number that the same joint has in the order A.
"""

from __future__ import annotations

from collections.abc import Sequence

SMPL24 = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
LANDMARKS = (
    "nose", "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    "left_thumb", "left_index", "left_middle", "left_ring", "left_pinky",
    "right_thumb", "right_index", "right_middle", "right_ring", "right_pinky",
)  # fmt: skip
EXTRA9 = (
    "right_hip_lsp", "left_hip_lsp", "neck_lsp", "head_top", "pelvis_mpii", "thorax_mpii", "spine_h36m", "jaw_h36m",
    "head_h36m",
)  # fmt: skip
JOINTS54 = (*SMPL24, *LANDMARKS, *EXTRA9)
OPENPOSE25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
J24 = (
    "right_ankle", "right_knee", "right_hip_lsp", "left_hip_lsp", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck_lsp", "head_top", "pelvis_mpii", "thorax_mpii", "spine_h36m", "jaw_h36m", "head_h36m",
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
)  # fmt: skip
SPIN49 = (*OPENPOSE25, *J24)
COCO17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
H36M17 = (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine_h36m", "thorax",
    "jaw_h36m", "head_h36m", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow",
    "right_wrist",
)  # fmt: skip

# The parent of each of SMPL's joints, by number; the pelvis has none, which SMPL's users write as -1.
SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
# Thighs and shins: pairs of SMPL's joints.
SMPL_LEGS = ((1, 4), (4, 7), (2, 5), (5, 8))


def picks(names: Sequence[str], order: Sequence[str]) -> tuple[int, ...]:
    """The number that each of the names has in the order. ValueError for a name that the order lacks."""
    return tuple(order.index(name) for name in names)


def mirrored(names: Sequence[str]) -> tuple[int, ...]:
    """The number of each joint's partner on the other side of the body; a joint of the midline is its own partner.

    x[..., mirrored(names), :] are the joints of the mirror image of a person with the joints x.
    """
    swapped = {"left": "right", "right": "left"}
    side = [name.partition("_") for name in names]
    return picks([swapped.get(first, first) + bar + rest for first, bar, rest in side], names)


FLIP24 = mirrored(SMPL24)
FLIP_J24 = mirrored(J24)
FLIP49 = (*mirrored(OPENPOSE25), *(25 + joint for joint in FLIP_J24))

# Parts of SPIN-49.
OPENPOSE_PART, J24_PART, BENCHMARK_PART = slice(0, 25), slice(25, 49), slice(25, 39)  # the last: LSP's 14
JOINT54_OF_SPIN49 = picks(SPIN49, JOINTS54)
# None: this joint of SPIN-49 is none of SMPL's.
SMPL_OF_SPIN49 = tuple(joint if joint < len(SMPL24) else None for joint in JOINT54_OF_SPIN49)
# None: OpenPose has no such joint.
OPENPOSE_OF_SMPL = tuple(OPENPOSE25.index(name) if name in OPENPOSE25 else None for name in SMPL24)
# Joints of SMPL that both halves of SPIN-49 hold: (its number in OpenPose-25, its number in J24).
TWINS = tuple((OPENPOSE25.index(name), j) for j, name in enumerate(J24) if name in OPENPOSE25 and name in SMPL24)
# Joints that annotators place once and that label both halves of SPIN-49: (number in OpenPose-25, number in J24). Hips
# stand for LSP's, as in SPIN's files of COCO; the neck does not.
ANNOTATED_ONCE = tuple(
    (OPENPOSE25.index(plain), j)
    for j, name in enumerate(J24)
    if (plain := name.removesuffix("_lsp")) in OPENPOSE25 and plain != "neck"
)
# Of OpenPose-25 and of H36M17: the numbers of the joints that both have. Human3.6M's thorax is OpenPose's neck.
OPENPOSE_AND_H36M17 = tuple(
    (OPENPOSE25.index(plain), j)
    for j, name in enumerate(H36M17)
    if (plain := name.replace("thorax", "neck")) in OPENPOSE25
)
SPIN49_OF_COCO17 = picks(COCO17, OPENPOSE25)
# COCO's sigmas: how far annotators differ on each keypoint, as a share of the person's size.
COCO17_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip
# The numbers in J24 of H36M17's joints, as SPIN stores Human3.6M: its thorax is LSP's neck, its hips are LSP's.
J24_OF_H36M17 = picks(
    tuple(
        {"pelvis": "pelvis_mpii", "thorax": "neck_lsp", "left_hip": "left_hip_lsp", "right_hip": "right_hip_lsp"}.get(
            name, name
        )
        for name in H36M17
    ),
    J24,
)
# Of H36M17: the 14 joints of LSP, which 3DPW's and Human3.6M's benchmarks score, and the 16 that Ski-Pose scores.
LSP14_OF_H36M17 = (3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10)
SKI16_OF_H36M17 = tuple(j for j in range(17) if j != 9)
# The rows of J_regressor_h36m.npy have the left leg before the right one: the row of each joint of H36M17.
REGRESSOR_ROW_OF_H36M17 = (0, 4, 5, 6, 1, 2, 3, *range(7, 17))

# The torso on both sides, right and then left: (shoulder, hip), by their numbers in each order.
OPENPOSE_TORSOS = ((2, 9), (5, 12))  # also of SPIN-49, which begins with OpenPose's joints
J24_TORSOS = ((33, 27), (34, 28))  # of SPIN-49
H36M_TORSOS = ((14, 1), (11, 4))

# HumanData has OpenPose's 25 joints in a row; the 24 are spread about.
HUMANDATA_OF_SPIN49 = (
    *range(153, 178),
    *(8, 5, 144, 145, 4, 7, 21, 19, 17, 16, 18, 20, 146, 147, 148, 149, 150, 151, 152, 55, 57, 56, 59, 58),
)
HUMANDATA_SIZE = 190
# HumanData begins with SMPL's joints, so four of OpenPose's lie there a second time: pelvis, left and right hip, neck.
HUMANDATA_OF_OPENPOSE = {8: 0, 12: 1, 9: 2, 1: 12}

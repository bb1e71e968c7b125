"""Whether the labels of a person agree with each other, which no check of a single field can find.

A pose is posed with the proportions of a grown-up and laid over the 2D joints by the best weak-perspective camera. That
is never exact, but other joints, other people or swapped sides fit far worse. All of it takes arrays of M people and
yields 'field: what is wrong'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from factory.export.people import PX
from factory.geometry.joints import FLIP24

ROWS = 2000  # people that are looked at, evenly spread
LABELLED = 6  # joints that a person must have for a fit
# SMPL's joint that each joint of SPIN-49 (OpenPose-25, then J24) is; -1: none.
SMPL_OF = (
    *(-1, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, *[-1] * 10),
    *(8, 5, -1, -1, 4, 7, 21, 19, 17, 16, 18, 20, *[-1] * 12),
)
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
REST = np.array(  # (24, 3) m: SMPL's joints of the open body, arms stretched out
    [(0, -.23, .02), (.11, -.24, .01), (-.11, -.24, .01), (0, -.15, -.02), (.13, -.63, .01), (-.13, -.63, .01),
     (0, 0, 0), (.13, -1.05, .01), (-.13, -1.05, .01), (0, .13, -.01), (.15, -1.1, .15), (-.15, -1.1, .15),
     (0, .31, .02), (.02, .24, .03), (-.02, .24, .03), (0, .41, .05), (.18, .23, .03), (-.18, .23, .03),
     (.44, .23, .03), (-.44, .23, .03), (.67, .23, .03), (-.67, .23, .03), (.77, .22, .02), (-.77, .22, .02)]
)  # fmt: skip
# The same joint in OpenPose-25 and in J24.
PAIRS = [(SMPL_OF.index(joint), j) for j, joint in enumerate(SMPL_OF[25:]) if joint >= 0]
LIMBS = ((1, 4), (4, 7), (2, 5), (5, 8))  # thighs and shins: 0.3 to 0.5 m
SHORT, LONG = 0.2, 0.65  # m


def pose2d(field: str, pose: np.ndarray, name2d: str, joints2d: np.ndarray, smpl_of: Sequence[int]) -> Iterator[str]:
    """pose (M, >= 66) axis-angles, root first; joints2d (M, J, 3) px and confidence, of which each is SMPL's joint
    smpl_of[j], or none (-1)."""
    some = _some(len(pose))
    at = [j for j, joint in enumerate(smpl_of) if joint >= 0]
    skeleton = posed(pose[some])
    joints2d = joints2d[some][:, at].astype(np.float64)
    joints = [smpl_of[j] for j in at]
    yield from _compared(
        field, name2d, _misfit(skeleton[:, joints], joints2d),
        _misfit(skeleton[:, [FLIP24[joint] for joint in joints]], joints2d),
    )  # fmt: skip


def joints3d2d(
    field: str, joints3d: np.ndarray, name2d: str, joints2d: np.ndarray, flip: Sequence[int]
) -> Iterator[str]:
    """joints3d (M, J, 4) m and confidence, joints2d (M, J, 3) px and confidence, in one order; flip: its mirror."""
    some = _some(len(joints3d))
    joints3d, joints2d = joints3d[some].astype(np.float64), joints2d[some].astype(np.float64)
    known = np.minimum(joints3d[..., 3:], joints2d[..., 2:])
    seen = np.concatenate([joints2d[..., :2], known], -1)
    swapped = np.concatenate([joints2d[:, list(flip), :2], np.minimum(known, known[:, list(flip)])], -1)
    yield from _compared(field, name2d, _misfit(joints3d[..., :3], seen), _misfit(joints3d[..., :3], swapped))


def twins(first: str, a: np.ndarray, second: str, b: np.ndarray, pairs: Sequence[tuple[int, int]]) -> Iterator[str]:
    """2D joints (M, J, 3) that two fields hold: a's joint and b's joint of each pair are one joint of the body."""
    a, b = (x[_some(len(x))][:, [pair[i] for pair in pairs]].astype(np.float64) for i, x in enumerate((a, b)))
    known = (a[..., 2] > 0) & (b[..., 2] > 0)
    enough = known.sum(1) >= LABELLED
    if not enough.any():
        return
    a, b, known = a[enough], b[enough], known[enough]
    extent = _extent(a, known)
    apart = (np.linalg.norm(a - b, axis=-1) * known).sum(1) / known.sum(1) / extent
    if np.median(apart) > 0.1:
        yield f"{second}: its joints lie {np.median(apart):.0%} of a body away from the same joints of {first}"


def rows(first: str, a: np.ndarray, second: str, b: np.ndarray, off: float) -> Iterator[str]:
    """Values (M, n) that two fields hold of each person: a row differs where one is more than `off` away."""
    differ = np.abs(a.astype(np.float64) - b).max(1) > off
    if differ.mean() > 0.01:
        yield f"{second}: differs from {first} in {int(differ.sum()):,} of {len(differ):,} rows; another order?"


def boxes(field: str, center: np.ndarray, side: np.ndarray, name2d: str, joints2d: np.ndarray) -> Iterator[str]:
    """center (M, 2) and side (M,) px of square boxes; a person's box must hold half of its labelled joints."""
    known = joints2d[..., 2] > 0
    inside = (np.abs(joints2d[..., :2] - center[:, None]) <= side[:, None, None] / 2 + 1).all(-1) & known
    empty = (known.sum(1) >= 4) & (inside.sum(1) < 0.5 * known.sum(1))
    if empty.any():
        yield f"{field}: {int(empty.sum()):,} of {len(empty):,} boxes hold less than half of the joints in {name2d}"


def corners(field: str, box: np.ndarray, name2d: str, joints2d: np.ndarray) -> Iterator[str]:
    """box (M, 4) must be x, y, width, height, and not x0, y0, x1, y1, which fits the joints better then."""
    known = joints2d[..., 2] > 0
    some = known.sum(1) >= 4
    if not some.any():
        return
    points = np.where(known[some][..., None], joints2d[some][..., :2].astype(np.float64), np.nan)
    low, high = np.nanmin(points, 1), np.nanmax(points, 1)
    first, second = box[some, :2].astype(np.float64), box[some, 2:4].astype(np.float64)
    as_size, as_corners = _overlap(low, high, first, first + second), _overlap(low, high, first, second)
    if np.median(as_corners) > np.median(as_size):
        yield f"{field}: fits {name2d} as x0, y0, x1, y1; it must be x, y, width, height"


def distance(field: str, transl: np.ndarray, K: np.ndarray, name2d: str, joints2d: np.ndarray, at: Sequence[int]) -> Iterator[str]:  # fmt: skip # noqa: E501
    """Whether bodies are as large as people at their distance: transl (M, 3) m, K (M, 3, 3) px, joints2d (M, J, 3), of
    which at[j] is SMPL's joint j (24 of them, -1: none)."""
    some = _some(len(transl))
    transl, K, joints2d = transl[some].astype(np.float64), K[some].astype(np.float64), joints2d[some].astype(np.float64)
    if (transl[:, 2] <= 0).any():
        yield f"{field}: {int((transl[:, 2] <= 0).sum()):,} people stand behind the camera"
        return
    ends = np.array([(at[a], at[b]) for a, b in LIMBS])
    a, b = joints2d[:, ends[:, 0]], joints2d[:, ends[:, 1]]
    known = (a[..., 2] > 0) & (b[..., 2] > 0)
    metres = np.linalg.norm((a - b)[..., :2] / K[:, [0, 1], [0, 1]][:, None], axis=-1) * transl[:, 2:]
    longest = np.where(known, metres, 0).max(1)[known.any(1)]
    if len(longest) >= 8 and not SHORT < np.median(longest) < LONG:
        yield (
            f"{field}: at that distance and with that camera, thighs and shins in {name2d} are"
            f" {np.median(longest):.2f} m long"
        )


def posed(pose: np.ndarray) -> np.ndarray:
    """Axis-angles (M, >= 66) -> SMPL's 24 joints (M, 24, 3) m of an average body."""
    from scipy.spatial.transform import Rotation

    count = pose.shape[1] // 3
    turns = Rotation.from_rotvec(pose[:, : 3 * count].reshape(-1, 3).astype(np.float64)).as_matrix()
    turns = turns.reshape(len(pose), count, 3, 3)
    whole, joints = [turns[:, 0]], [np.tile(REST[0], (len(pose), 1))]
    for joint in range(1, 24):
        parent = PARENTS[joint]
        joints.append(joints[parent] + whole[parent] @ (REST[joint] - REST[parent]))
        whole.append(whole[parent] @ turns[:, joint] if joint < min(count, 22) else whole[parent])
    return np.stack(joints, 1)


MISFIT = 0.3  # of the spread of the joints: other proportions and the perspective make less


def _compared(field: str, name2d: str, misfit: np.ndarray, swapped: np.ndarray) -> Iterator[str]:
    if not len(misfit):
        return
    direct, mirror = np.median(misfit), np.median(swapped)
    if mirror < 0.7 * direct and direct > 0.1:
        yield f"{name2d}: fits {field} with left and right swapped"
    elif direct > MISFIT:
        yield f"{name2d}: does not fit {field}, by {direct:.0%} of a body: another order of joints, or other people"


def _misfit(joints3d: np.ndarray, joints2d: np.ndarray) -> np.ndarray:
    """(M, J, 3) m over (M, J, 3) px and confidence -> of each person with enough joints, what the best weak-perspective
    camera leaves, of the spread of the 2D joints."""
    weight = (joints2d[..., 2:] > 0).astype(np.float64)
    enough = (weight.sum((1, 2)) >= LABELLED) & np.isfinite(joints3d).all((1, 2))
    x, y, weight = joints3d[enough][..., :2], joints2d[enough][..., :2], weight[enough]
    if not len(x):
        return np.empty(0)
    total = weight.sum(1, keepdims=True)
    x, y = ((v - (v * weight).sum(1, keepdims=True) / total) * weight for v in (x, y))
    scale = np.maximum((x * y).sum((1, 2)), 0) / np.maximum((x * x).sum((1, 2)), 1e-12)
    left = ((y - scale[:, None, None] * x) ** 2).sum((1, 2))
    return np.sqrt(left / np.maximum((y * y).sum((1, 2)), 1e-12))


def _extent(joints2d: np.ndarray, known: np.ndarray) -> np.ndarray:
    points = np.where(known[..., None], joints2d[..., :2], np.nan)
    return np.maximum((np.nanmax(points, 1) - np.nanmin(points, 1)).max(1), 1e-6)


def _overlap(low: np.ndarray, high: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of boxes."""

    def area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (b - a).clip(0).prod(1)

    shared = area(np.maximum(low, first), np.minimum(high, second))
    return shared / np.maximum(area(low, high) + area(first, second) - shared, 1e-12)


def _some(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, ROWS)).astype(int)


def square(center: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """center, and the side in px of a box that is given in 200 px."""
    return center.astype(np.float64), scale.astype(np.float64) * PX

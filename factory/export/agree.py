"""Checks that compare two fields of an export with each other: each may be sound alone and still not fit the other.

A pose is put on a body of average proportions, and that body is fitted to the 2D joints by the best weak-perspective
camera. The fit is never exact, but with a wrong order of joints, other people's joints or swapped sides it is far
worse. Every check takes arrays of M people and yields texts 'field: what is wrong'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from factory.export.people import PX
from factory.geometry.average_skeleton import average_joints
from factory.geometry.joints import FLIP24, SMPL_LEGS

ROWS = 2000  # people that are looked at, evenly spread
LABELLED = 6  # joints that a person must have for a fit
SHORT, LONG = 0.2, 0.65  # m


def pose2d(
    field: str, pose: np.ndarray, name2d: str, joints2d: np.ndarray, smpl_of: Sequence[int | None]
) -> Iterator[str]:
    """pose (M, >= 66) axis-angles, root first; joints2d (M, J, 3) px and confidence. Joint j of these is SMPL's
    joint smpl_of[j], or none of SMPL's (None)."""
    some = _some(len(pose))
    shared = {j: joint for j, joint in enumerate(smpl_of) if joint is not None}
    skeleton = average_joints(pose[some])
    joints2d = joints2d[some][:, list(shared)].astype(np.float64)
    joints = list(shared.values())
    yield from _compared(
        field, name2d, _misfit(skeleton[:, joints], joints2d),
        _misfit(skeleton[:, [FLIP24[joint] for joint in joints]], joints2d),
    )  # fmt: skip


def joints3d2d(
    field: str, joints3d: np.ndarray, name2d: str, joints2d: np.ndarray, flip: Sequence[int]
) -> Iterator[str]:
    """Whether 3D joints fit 2D joints. joints3d (M, J, 4) m and confidence, joints2d (M, J, 3) px and confidence, both
    in the same order; flip: for each joint the index of its mirror image (left and right swapped)."""
    some = _some(len(joints3d))
    joints3d, joints2d = joints3d[some].astype(np.float64), joints2d[some].astype(np.float64)
    known = np.minimum(joints3d[..., 3:], joints2d[..., 2:])
    seen = np.concatenate([joints2d[..., :2], known], -1)
    swapped = np.concatenate([joints2d[:, list(flip), :2], np.minimum(known, known[:, list(flip)])], -1)
    yield from _compared(field, name2d, _misfit(joints3d[..., :3], seen), _misfit(joints3d[..., :3], swapped))


def twins(first: str, a: np.ndarray, second: str, b: np.ndarray, pairs: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Whether two fields agree where they hold the same 2D joints. a, b: (M, J, 3) px and confidence; pairs: (index in
    a, index in b) of the same joint of the body."""
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
    """Whether two fields hold the same values. a, b: (M, n); a row differs when one of its values is more than `off`
    away."""
    differ = np.abs(a.astype(np.float64) - b).max(1) > off
    if differ.mean() > 0.01:
        yield f"{second}: differs from {first} in {int(differ.sum()):,} of {len(differ):,} rows; another order?"


def boxes(field: str, center: np.ndarray, side: np.ndarray, name2d: str, joints2d: np.ndarray) -> Iterator[str]:
    """Whether each person's square box holds at least half of the person's labelled joints. center (M, 2) px, side (M,)
    px."""
    known = joints2d[..., 2] > 0
    inside = (np.abs(joints2d[..., :2] - center[:, None]) <= side[:, None, None] / 2 + 1).all(-1) & known
    empty = (known.sum(1) >= 4) & (inside.sum(1) < 0.5 * known.sum(1))
    if empty.any():
        yield f"{field}: {int(empty.sum()):,} of {len(empty):,} boxes hold less than half of the joints in {name2d}"


def corners(field: str, box: np.ndarray, name2d: str, joints2d: np.ndarray) -> Iterator[str]:
    """Whether boxes (M, 4) are x, y, width, height. They are taken for x0, y0, x1, y1 when that fits the joints
    better."""
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


def distance(field: str, transl: np.ndarray, K: np.ndarray, name2d: str, joints2d: np.ndarray, of_smpl: Sequence[int | None]) -> Iterator[str]:  # fmt: skip # noqa: E501
    """Whether bodies are as large as people at their distance: transl (M, 3) m, K (M, 3, 3) px, joints2d (M, J, 3).
    SMPL's joint j is joint of_smpl[j] of these; all joints of the legs must be there."""
    some = _some(len(transl))
    transl, K, joints2d = transl[some].astype(np.float64), K[some].astype(np.float64), joints2d[some].astype(np.float64)
    if (transl[:, 2] <= 0).any():
        yield f"{field}: {int((transl[:, 2] <= 0).sum()):,} people stand behind the camera"
        return
    ends = np.array([(of_smpl[a], of_smpl[b]) for a, b in SMPL_LEGS])
    a, b = joints2d[:, ends[:, 0]], joints2d[:, ends[:, 1]]
    known = (a[..., 2] > 0) & (b[..., 2] > 0)
    metres = np.linalg.norm((a - b)[..., :2] / K[:, [0, 1], [0, 1]][:, None], axis=-1) * transl[:, 2:]
    longest = np.where(known, metres, 0).max(1)[known.any(1)]
    if len(longest) >= 8 and not SHORT < np.median(longest) < LONG:
        yield (
            f"{field}: at that distance and with that camera, thighs and shins in {name2d} are"
            f" {np.median(longest):.2f} m long"
        )


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
    """The residual of the best weak-perspective fit of 3D joints (M, J, 3) m to 2D joints (M, J, 3) px and confidence,
    as a share of the spread of the 2D joints: one value for each person with enough joints."""
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
    """(M,) px: the longer side of the box round each person's known joints."""
    points = np.where(known[..., None], joints2d[..., :2], np.nan)
    return np.maximum((np.nanmax(points, 1) - np.nanmin(points, 1)).max(1), 1e-6)


def _overlap(low: np.ndarray, high: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) IoU of the boxes with corners low, high and the boxes with corners first, second, each (N, 2)."""

    def area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (b - a).clip(0).prod(1)

    shared = area(np.maximum(low, first), np.minimum(high, second))
    return shared / np.maximum(area(low, high) + area(first, second) - shared, 1e-12)


def _some(count: int) -> np.ndarray:
    """Indices of at most ROWS of `count` rows, evenly spread."""
    return np.linspace(0, count - 1, min(count, ROWS)).astype(int)


def square(center: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(center (M, 2) px, side (M,) px) of boxes whose `scale` is given in units of 200 px."""
    return center.astype(np.float64), scale.astype(np.float64) * PX

"""The people of many images as rows, and what trainers want of each: box, scale, weak-perspective camera.

Axes are OpenCV's, lengths metres, pixels those of the stored image. M is the number of people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.export.source import ARRAYS, Sample

PX = 200.0  # trainers give the side of a box in units of 200 px
BOX = 1.2  # a loose box is so much larger than the body in it
OPENPOSE, J24 = slice(0, 25), slice(25, 49)  # of SPIN-49
SHOULDERS_HIPS = (25 + np.array([8, 9]), 25 + np.array([2, 3]))  # right, left; of J24
LEAST = 1.0  # px: loaders stop in a debugger at a smaller box


@dataclass(frozen=True)
class People:
    """keys: of each row's image; number: which of the image's people (M,); size (M, 2): the image's width, height px;
    the others as in smpl.npz, float32: pose (M, 72), betas (M, 10), transl (M, 3), K (M, 3, 3), joints2d (M, 49, 3),
    joints3d (M, 49, 4), bbox (M, 4), detection_score (M,).
    """

    keys: list[str]
    number: np.ndarray
    size: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    K: np.ndarray
    joints2d: np.ndarray
    joints3d: np.ndarray
    bbox: np.ndarray
    detection_score: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """(M, 2) px: the middle of the box."""
        return (self.bbox[:, :2] + self.bbox[:, 2:]) / 2

    @property
    def sides(self) -> np.ndarray:
        """(M, 2) px: width and height of the box."""
        return self.bbox[:, 2:] - self.bbox[:, :2]

    @property
    def loose(self) -> np.ndarray:
        """(M,) px: the side of the square box that BEDLAM and CameraHMR crop."""
        return BOX * self.sides.max(1)

    @property
    def spin_side(self) -> np.ndarray:
        """(M,) px: the side of SPIN's crop: 3 torsos, and never less than the loose box."""
        shoulders, hips = (self.joints2d[:, at, :2] for at in SHOULDERS_HIPS)
        torso = np.linalg.norm(shoulders - hips, axis=-1).mean(1)
        return np.maximum(3 * torso, self.loose).astype(np.float32)

    def camera(self, side: np.ndarray) -> np.ndarray:
        """side (M,) px of a square crop round `center` -> (M, 3) float32: the weak-perspective (s, tx, ty) that sees
        the body there; the inverse of `factory.geometry.camera.weak_to_transl`, in float64 and without PyTorch.
        """
        transl, K, side = self.transl.astype(np.float64), self.K.astype(np.float64), side.astype(np.float64)
        s = 2 * K[:, 0, 0] / (side * transl[:, 2])
        shift = 2 * (self.center - K[:, :2, 2]) / (side * s)[:, None]
        return np.concatenate([s[:, None], transl[:, :2] - shift], 1).astype(np.float32)


def people_of(samples: Sequence[Sample]) -> People:
    """All people of the samples, but for those whose box is smaller than LEAST."""
    keep = [(np.diff(sample.people["bbox"].reshape(-1, 2, 2), axis=1)[:, 0] >= LEAST).all(1) for sample in samples]

    def rows(name: str) -> np.ndarray:
        return np.concatenate([sample.people[name][kept] for sample, kept in zip(samples, keep, strict=True)])

    counts = [int(kept.sum()) for kept in keep]
    sizes = np.array([(sample.width, sample.height) for sample in samples])
    return People(
        keys=[sample.key for sample, count in zip(samples, counts, strict=True) for _ in range(count)],
        number=np.concatenate([np.flatnonzero(kept) for kept in keep]),
        size=np.repeat(sizes, counts, axis=0),
        **{name: rows(name) for name in ARRAYS},
    )

"""The people of many images as rows of arrays, with what trainers' formats derive from them: box, scale and
weak-perspective camera.

Axes follow OpenCV, lengths are in metres, pixels are those of the stored image. M is the number of people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.export.source import ARRAYS, ExportSample
from factory.geometry.camera import transl_to_weak
from factory.geometry.crops import LOOSE, spin_side

PX = 200.0  # trainers give the side of a box in units of 200 px
LEAST = 1.0  # px: loaders stop in a debugger at a smaller box


@dataclass(frozen=True)
class PeopleRows:
    """One row per person. keys: key of the row's image; number (M,): the person's index within that image; size (M, 2):
    the image's width and height, px. The others are float32 and as in smpl.npz: pose (M, 72), betas (M, 10), transl
    (M, 3), K (M, 3, 3), joints2d (M, 49, 3), joints3d (M, 49, 4), bbox (M, 4), detection_score (M,).
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
        return LOOSE * self.sides.max(1)

    @property
    def spin_side(self) -> np.ndarray:
        """(M,) px: the side of SPIN's crop: 3 torsos, and never less than the loose box."""
        return spin_side(self.bbox, self.joints2d)

    def camera(self, side: np.ndarray) -> np.ndarray:
        """side (M,) px of a square crop round `center` -> (M, 3) float32: the weak-perspective (s, tx, ty) that sees
        the body there. Computed in float64.
        """
        crop = np.concatenate([self.center, side[:, None]], 1)
        transl, crop, K = (values.astype(np.float64) for values in (self.transl, crop, self.K))
        return transl_to_weak(transl, crop, K).astype(np.float32)


def people_of(samples: Sequence[ExportSample]) -> PeopleRows:
    """All people of the samples except those whose box is smaller than LEAST."""
    keep = [(np.diff(sample.people["bbox"].reshape(-1, 2, 2), axis=1)[:, 0] >= LEAST).all(1) for sample in samples]

    def rows(name: str) -> np.ndarray:
        return np.concatenate([sample.people[name][kept] for sample, kept in zip(samples, keep, strict=True)])

    counts = [int(kept.sum()) for kept in keep]
    sizes = np.array([(sample.width, sample.height) for sample in samples])
    return PeopleRows(
        keys=[sample.key for sample, count in zip(samples, counts, strict=True) for _ in range(count)],
        number=np.concatenate([np.flatnonzero(kept) for kept in keep]),
        size=np.repeat(sizes, counts, axis=0),
        **{name: rows(name) for name in ARRAYS},
    )

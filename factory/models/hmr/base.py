"""What an estimator of bodies is and what it answers: `BodyEstimator`, and a `BodyEstimate` of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from factory.models.bad_answer import BadAnswer, numbers, one_per_image

Picks = slice | np.ndarray | list[int]


@dataclass(frozen=True, eq=False)
class BodyEstimate:
    """The bodies of N people in one image, all float32, in the order of the boxes or best first. N may be 0.

    global_orient (N, 3), body_pose (N, 69): SMPL's axis-angles in radians; the root's in the camera frame of OpenCV
        (x right, y down, z forward), so that an upright body has a global_orient near pi about x.
    betas (N, 10): SMPL's shape coefficients.
    camera (N, 3): SPIN's weak-perspective camera (s, tx, ty) on the crop, see `geometry.camera`; tx and ty in m.
    crop (N, 3): the square that the camera refers to: centre x, centre y, side, px of the image.
    K (3, 3): px, the perspective camera of the whole image, for an estimator that has one of its own. None: the camera
        in which the whole image is one crop of SPIN's (`geometry.camera.full_image_K`).
    score (N,): how sure the estimator is of each person that it has found itself. None: it does not say.

    Whatever numbers are given become float32. Raises BadAnswer for a field of another shape or type, or one that is not
    finite.
    """

    global_orient: np.ndarray
    body_pose: np.ndarray
    betas: np.ndarray
    camera: np.ndarray
    crop: np.ndarray
    K: np.ndarray | None = None
    score: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.global_orient))
        for name, width in PER_PERSON.items():
            self._keep(name, (count, width))
        if self.K is not None:
            self._keep("K", (3, 3))
        if self.score is not None:
            self._keep("score", (count,))

    def _keep(self, name: str, shape: tuple[int, ...]) -> None:
        object.__setattr__(self, name, numbers(getattr(self, name), shape, name))

    def __len__(self) -> int:
        return len(self.camera)

    def __getitem__(self, people: Picks) -> BodyEstimate:
        """Some of the people, by a slice or by their numbers."""
        picked = {name: getattr(self, name)[people] for name in PER_PERSON}
        return BodyEstimate(**picked, K=self.K, score=None if self.score is None else self.score[people])

    @classmethod
    def nobody(cls) -> BodyEstimate:
        """The answer for an image without people."""
        return cls(**{name: np.zeros((0, width), np.float32) for name, width in PER_PERSON.items()})

    @classmethod
    def joined(cls, estimates: Sequence[BodyEstimate]) -> BodyEstimate:
        """The people of at least one image, one image after the other. K and score are left out: images may have
        different cameras."""
        return cls(**{name: np.concatenate([getattr(one, name) for one in estimates]) for name in PER_PERSON})


PER_PERSON = {"global_orient": 3, "body_pose": 69, "betas": 10, "camera": 3, "crop": 3}  # field -> numbers of a person


class BodyEstimator(Protocol):
    """Estimates the bodies of people in images. finds: it looks for people itself, so that boxes may be None."""

    finds: bool

    def estimate(self, images: list[np.ndarray], boxes: list[np.ndarray] | None) -> list[BodyEstimate]:
        """images: (H, W, 3) uint8 RGB each. boxes: for each image (n, 4) x0, y0, x1, y1 px; or (n, 49, 3), the SPIN-49
        keypoints of known people in px with their confidence, where the job has them.

        Returns for each image as many bodies as boxes, in their order; without boxes those of all people found, best
        first. Raise ValueError where there are boxes and nobody is found.
        """


def estimate_bodies(
    estimator: BodyEstimator, images: list[np.ndarray], boxes: list[np.ndarray] | None
) -> list[BodyEstimate]:
    """`estimator.estimate(images, boxes)`. Raises BadAnswer where it is not as `BodyEstimator` says."""
    answer = estimator.estimate(images, boxes)
    one_per_image(answer, images, BodyEstimate, "the estimator")
    for estimate, some in zip(answer, boxes or [], strict=False):
        if len(estimate) != len(some):
            raise BadAnswer(f"the estimator gives {len(estimate)} bodies for {len(some)} boxes")
    return answer

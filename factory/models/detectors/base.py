"""What a detector is and what it answers: `Detector`, and the `Instance`s of each image, people and objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from factory.models.bad_answer import BadAnswer, numbers, one_per_image

DUPLICATE = 0.5  # an instance of whose mask more than this share lies in better ones of its label repeats them


@dataclass
class Instance:
    """mask (H, W) bool, never empty; bbox (4,) float32: x0, y0, x1, y1 px around it, right and bottom exclusive."""

    score: float
    label: Literal["person", "object"]
    mask: np.ndarray
    bbox: np.ndarray


class Detector(Protocol):
    def detect(self, images: list[np.ndarray]) -> list[list[Instance]]:
        """images: (H, W, 3) uint8 RGB, all of one size -> instances of each, best score first."""


def detect_instances(detector: Detector, images: list[np.ndarray]) -> list[list[Instance]]:
    """`detector.detect(images)`. Raises BadAnswer where it is not as `Detector` says."""
    answer = detector.detect(images)
    one_per_image(answer, images, list, "the detector")
    for image, instances in zip(images, answer, strict=True):
        for i, one in enumerate(instances):
            _require_instance(one, image.shape[:2], f"the detector's instance {i}")
    return answer


def _require_instance(one: Any, size: tuple[int, int], name: str) -> None:
    numbers(one.score, (), f"{name}: score")
    numbers(one.bbox, (4,), f"{name}: bbox")
    if one.label not in ("person", "object"):
        raise BadAnswer(f"{name}: label is {one.label!r}, not person or object")
    mask = np.asarray(one.mask)
    if mask.dtype != bool or mask.shape != size:
        raise BadAnswer(f"{name}: mask is {mask.shape} of {mask.dtype}, not {size} of bool")
    if not mask.any():
        raise BadAnswer(f"{name}: mask is empty")


def instance(score: float, person: bool, mask: np.ndarray) -> Instance:
    """An instance with the box of its mask. mask: (H, W) bool, not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    bbox = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
    return Instance(score, "person" if person else "object", mask, bbox)


def distinct(instances: list[Instance]) -> list[Instance]:
    """The instances of one image, best first and without duplicates, by which one person would get two bodies."""
    kept: list[Instance] = []
    claimed: dict[str, np.ndarray] = {}
    for one in sorted(instances, key=lambda i: -i.score):
        taken = claimed.get(one.label, np.zeros_like(one.mask))
        if (one.mask & taken).sum() <= DUPLICATE * one.mask.sum():
            kept.append(one)
            claimed[one.label] = taken | one.mask
    return kept

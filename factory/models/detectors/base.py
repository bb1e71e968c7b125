"""The protocol of detectors: images in, instances of people and objects out, each with its mask and box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from factory.models.bad_answer import BadAnswer, numbers, one_per_image

# An instance is a duplicate if more than this share of its mask lies in masks of its label with better scores.
DUPLICATE = 0.5


@dataclass
class Instance:
    """One person or object in an image. mask (H, W) bool, never empty; bbox (4,) float32: x0, y0, x1, y1 px around the
    mask, right and bottom exclusive; score in [0, 1]."""

    score: float
    label: Literal["person", "object"]
    mask: np.ndarray
    bbox: np.ndarray


class Detector(Protocol):
    """Finds people and objects in images."""

    def detect(self, images: list[np.ndarray]) -> list[list[Instance]]:
        """images: (H, W, 3) uint8 RGB, all of one size -> the instances of each image, best score first."""


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
    """An instance with the box around its mask (H, W) bool, which is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    bbox = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
    return Instance(score, "person" if person else "object", mask, bbox)


def distinct(instances: list[Instance]) -> list[Instance]:
    """The instances of an image, best score first, without duplicates. With them one person would get two bodies."""
    kept: list[Instance] = []
    covered: dict[str, np.ndarray] = {}  # label -> union of the masks that are kept
    for candidate in sorted(instances, key=lambda i: -i.score):
        before = covered.get(candidate.label, np.zeros_like(candidate.mask))
        if (candidate.mask & before).sum() <= DUPLICATE * candidate.mask.sum():
            kept.append(candidate)
            covered[candidate.label] = before | candidate.mask
    return kept

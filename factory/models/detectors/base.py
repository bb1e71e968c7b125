"""What a detector finds: people and objects, each with its mask and box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

DUPLICATE = 0.5  # an instance whose mask lies so far in better ones of its label is another look at the same thing


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


def instance(score: float, person: bool, mask: np.ndarray) -> Instance:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    bbox = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
    return Instance(score, "person" if person else "object", mask, bbox)


def distinct(instances: list[Instance]) -> list[Instance]:
    """Best first, without the duplicates: else one person would get two bodies."""
    kept: list[Instance] = []
    claimed: dict[str, np.ndarray] = {}
    for one in sorted(instances, key=lambda i: -i.score):
        taken = claimed.get(one.label, np.zeros_like(one.mask))
        if (one.mask & taken).sum() <= DUPLICATE * one.mask.sum():
            kept.append(one)
            claimed[one.label] = taken | one.mask
    return kept

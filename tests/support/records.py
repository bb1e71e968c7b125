"""Records as the stages before leave them."""

from __future__ import annotations

from typing import Any

import numpy as np

from factory.geometry.camera import full_image_K
from factory.record import Person, Record

SIZE = 64  # px


def record(index: int = 0, **fields: Any) -> Record:
    """A record with a random picture and empty masks."""
    picture = np.random.default_rng(index).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    nothing = np.zeros((SIZE, SIZE), bool)
    fields = {"initial": picture, "person_mask": nothing, "object_mask": nothing.copy(), **fields}
    return Record(f"small-{index:08d}", 1000 + index, f"a photo of a person doing thing {index}", **fields)


def person(x: float = 0.0, y: float = 0.2, z: float = 60.0) -> Person:
    """A standing body, its pelvis at about (x, y - 0.2, z) m, in the middle of the image when x = 0."""
    nothing = np.zeros(3, np.float32)
    return Person(
        global_orient=np.array([np.pi, 0, 0], np.float32),
        body_pose=np.zeros(69, np.float32),
        betas=np.zeros(10, np.float32),
        transl=np.array([x, y, z], np.float32),
        K=full_image_K(SIZE, SIZE),
        camera=nothing,
        crop=nothing,
        joints2d=np.zeros((49, 3), np.float32),
        joints3d=np.zeros((49, 4), np.float32),
        bbox=np.zeros(4, np.float32),
    )


def rendered(index: int = 0, **fields):
    """A record as stage 3 leaves it: a box of a body, its upper part behind an object."""
    silhouette, objects = np.zeros((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), bool)
    silhouette[16:56, 24:40] = True
    objects[:24] = True
    depth = np.where(silhouette & ~objects, np.linspace(20, 21, SIZE), 0).astype(np.float32)
    return record(index, **{"silhouette": silhouette, "object_mask": objects, "depth": depth, **fields})

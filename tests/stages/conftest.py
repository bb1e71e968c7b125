"""Jobs on tiny models with random weights: they show what a stage does, whatever its models have learnt."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.geometry.camera import full_image_K
from factory.job import JobSpec
from factory.record import Person, Record
from tests.models.conftest import (  # noqa: F401
    one_thread,
    tiny_depth_to_image,
    tiny_detector,
    tiny_hmr,
    tiny_text_to_image,
    tiny_vposer,
)

SIZE = 64  # px
Job = Callable[..., JobSpec]


@pytest.fixture
def job(
    values: dict,
    tiny_text_to_image: Path,  # noqa: F811
    tiny_hmr: Path,  # noqa: F811
    tiny_vposer: Path,  # noqa: F811
    tiny_detector: Path,  # noqa: F811
    tiny_depth_to_image: Path,  # noqa: F811
) -> Job:
    """job(estimate={"easy": "drop"}) -> a job on the tiny models, with these fields of its stages changed."""
    values["image_size"] = SIZE
    stages: dict[str, Any] = values["stages"]
    stages["generate"]["model"] = str(tiny_text_to_image)
    stages["estimate"]["hmr"]["model"] = str(tiny_hmr)
    stages["estimate"]["prior"]["model"] = str(tiny_vposer)
    stages["estimate"]["detector"] |= {"model": str(tiny_detector), "threshold": 0.0}
    stages["refine"] |= {"model": str(tiny_depth_to_image), "steps": 10}

    def make(**changes: dict) -> JobSpec:
        changed = copy.deepcopy(values)
        for stage, fields in changes.items():
            for name, value in fields.items():
                spec = changed["stages"].setdefault(stage, {})
                spec[name] = {**spec[name], **value} if isinstance(value, dict) else value
        return JobSpec(**changed)

    return make


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

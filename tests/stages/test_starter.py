"""The starter pack's own weights: from a picture with a person in it to a picture that shows the body of its label."""

import numpy as np
import pytest

from factory.errors import UserError
from factory.job import JobSpec
from factory.record import Record, Unit
from factory.stages.estimate import Estimate
from factory.stages.generate import Generate
from factory.stages.refine import Refine
from factory.stages.render import Render
from factory.starter.world.scene import World
from factory.weights.locate import locate

pytestmark = pytest.mark.heavy(4)

HELD_OUT = 1_000_000


def starter(values: dict, *parts: str) -> JobSpec:
    """A job on the starter pack; skips the test while one of these parts is missing."""
    for part in parts:
        try:
            locate(f"starter:{part}")
        except UserError as error:
            pytest.skip(str(error))
    values["stages"]["generate"]["steps"] = values["stages"]["refine"]["steps"] = 10
    return JobSpec(**values)


def test_bodies_cover_the_people_in_held_out_pictures(values):
    spec = starter(values, "hmr", "vposer", "detector")
    world = World()
    scenes = [world.sample(HELD_OUT + i) for i in range(6)]
    records = [Record(f"world-{i}", i, s.prompt, initial=s.image) for i, s in enumerate(scenes)]
    Render(spec)(Estimate(spec)(Unit(0, 0, records)))
    people = [(s.instances > 0) & (s.instances < 10) for s in scenes]
    masks = [_iou(r.person_mask, truth) for r, truth in zip(records, people, strict=True)]
    bodies = [_iou(r.depth > 0, truth) for r, truth in zip(records, people, strict=True) if r.depth is not None]
    assert np.mean(masks) > 0.6 and len(bodies) >= 4 and np.mean(bodies) > 0.35, (masks, bodies)


def test_from_prompt_to_final_image(values):
    spec = starter(values, "text-to-image", "depth-to-image", "hmr", "vposer", "detector")
    records = [Record(f"text-{i}", i, "a photo of an athlete doing walking") for i in range(4)]
    unit = Unit(0, 0, records)
    for stage in (Generate, Estimate, Render, Refine):
        unit = stage(spec)(unit)
        assert not any(record.error for record in unit.records)
    done = unit.active  # the store makes them ok
    assert done and all(record.refined and record.final.shape == (128, 128, 3) for record in done)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))

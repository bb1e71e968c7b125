"""A stage that needs no network: bodies of the starter pack in random poses, seen and labelled as stage 2 does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import full_image_K, project, weak_to_transl
from factory.job import JobSpec
from factory.record import Person, Reason, Record
from factory.stages.base import Stage
from factory.weights.locate import resolve
from tests.support.seeded_stages import Depth, Draw, Finish, random_of


class Bodies(Stage):
    """Rejects every tenth record; every third has two people, some of them partly out of the image."""

    name = "estimate"

    def setup(self) -> None:
        self.body = BodyModel(resolve(self.job.body.model))

    def process(self, records: list[Record]) -> None:
        size = self.job.image_size
        K = full_image_K(size, size)
        people = []
        for record in records:
            number, random = int(record.key[-8:]), random_of(record, 2)
            record.person_mask = record.object_mask = np.zeros((size, size), bool)
            record.measure(pose_score=random.uniform(0, 60))
            if number % 10 == 9:
                record.reject(Reason.EASY, self.name)
                continue
            for _ in range(2 if number % 3 == 0 else 1):
                upright = np.array([np.pi, 0, 0]) + random.normal(0, 0.2, 3)
                values = {
                    "global_orient": upright, "body_pose": random.normal(0, 0.3, 69), "betas": random.normal(size=10),
                    "camera": [random.uniform(0.6, 1), *random.uniform(-0.2, 0.2, 2)],
                    "crop": [*random.uniform(0.3 * size, 0.7 * size, 2), random.uniform(0.5, 1) * size],
                }  # fmt: skip
                people.append((record, {name: np.asarray(value, np.float32) for name, value in values.items()}))
        if not people:
            return
        rows = {name: torch.from_numpy(np.stack([values[name] for _, values in people])) for name in people[0][1]}
        camera = torch.from_numpy(K)
        transl = weak_to_transl(rows["camera"], rows["crop"], camera)
        with torch.inference_mode():
            joints = spin49(self.body(rows["global_orient"], rows["body_pose"], rows["betas"], transl)[1])
        pixels = project(joints, camera).numpy()
        inside = ((pixels >= 0) & (pixels < size)).all(-1, keepdims=True)
        low, high = pixels.min(1).clip(0, size), pixels.max(1).clip(0, size)
        ones = np.ones((*joints.shape[:2], 1))
        for i, (record, values) in enumerate(people):
            record.people.append(
                Person(
                    **values, transl=transl[i].numpy(), K=K, joints2d=np.concatenate([pixels[i], inside[i]], -1),
                    joints3d=np.concatenate([joints[i].numpy(), ones[i]], -1),
                    bbox=np.concatenate([low[i], high[i]]), detection_score=0.9,
                )
            )  # fmt: skip


STAGES: list[type[Stage]] = [Draw, Bodies, Depth, Finish]


def job(out: Path, records: int) -> JobSpec:
    estimate = {"hmr": {"model": "-"}, "prior": {"model": "-"}, "detector": {"model": "-"}}
    stages = {"generate": {"model": "-"}, "estimate": estimate, "refine": {"model": "-"}}
    return JobSpec.model_validate(
        {
            "name": "hard_poses", "output": str(out), "records": records, "image_size": 64, "unit_size": 20,
            "samples_per_shard": 60, "engine": "inline", "prompts": {"action": ["walking", "diving"]},
            "body": {"model": "starter:body", "name": "open-body"}, "stages": stages,
        }
    )  # fmt: skip

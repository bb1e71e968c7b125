"""A small data set of real bodies: what loaders, cards, figures and reports are tried on. No image model is asked."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import torch

from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import full_image_K, project, transl_to_weak
from factory.geometry.crops import square_crop
from factory.geometry.rasteriser import rasterise
from factory.job import JobSpec
from factory.plan import plan
from factory.record import Person, Reason, Record
from factory.store.ledger import open_ledger
from factory.store.part import pack
from factory.weights.locate import resolve

WRISTS = ((7, (255, 0, 0)), (4, (0, 255, 0)))  # of SPIN-49, left and right: marked in every picture


@cache
def body() -> BodyModel:
    return BodyModel(resolve("starter:body"))


def pose(record: Record, size: int, x: float = 0.0) -> tuple[Person, np.ndarray]:
    """A person in a pose of its own, about x m beside the middle, and its depth (H, W) m."""
    rng = np.random.default_rng([record.seed, round(10 * x) + 50])
    K = full_image_K(size, size)
    orient = torch.tensor([[np.pi, 0, 0]]) + torch.from_numpy(rng.normal(0, 0.15, (1, 3)))
    turns = torch.from_numpy(rng.normal(0, 0.25, (1, 69)))
    betas = torch.from_numpy(rng.normal(0, 0.7, (1, 10)))
    transl = torch.tensor([[x, 0.2, 60.0]])
    parts = [part.float() for part in (orient, turns, betas, transl)]
    vertices, joints = body()(*parts)
    camera = torch.from_numpy(K)
    depth = rasterise(vertices, body().faces, camera, size, size).depth[0].numpy()
    joints = spin49(joints)[0]
    pixels, outline = project(joints, camera).numpy(), project(vertices[0], camera).numpy().clip(0, size)
    inside = ((pixels >= 0) & (pixels < size)).all(1, keepdims=True)
    bbox = np.concatenate([outline.min(0), outline.max(0)]).astype(np.float32)
    crop = square_crop(bbox, 1.2)
    person = Person(
        *(part[0].numpy() for part in parts),
        K=K,
        camera=transl_to_weak(parts[3], torch.from_numpy(crop[None]), camera)[0].numpy(),
        crop=crop,
        joints2d=np.concatenate([pixels, inside], 1).astype(np.float32),
        joints3d=np.concatenate([joints.numpy(), np.ones((49, 1))], 1).astype(np.float32),
        bbox=bbox,
    )
    return person, depth


def fill(record: Record, size: int, people: int = 1) -> None:
    """The record as the last stage leaves it."""
    posed = [pose(record, size, x=0.4 * i - 0.2 * (people - 1)) for i in range(people)]
    depths = np.stack([np.where(depth > 0, depth, np.inf) for _, depth in posed]).min(0)
    record.people = [person for person, _ in posed]
    record.silhouette = record.person_mask = np.isfinite(depths)
    record.object_mask = np.zeros((size, size), bool)
    record.depth = np.where(record.silhouette, depths, 0).astype(np.float32)
    rng = np.random.default_rng(record.seed)
    picture = np.full((size, size, 3), rng.integers(0, 90, 3), np.uint8)
    picture[record.silhouette] = (90, 90, 160)
    for joint, colour in WRISTS if people == 1 else ():
        x, y = np.floor(record.people[0].joints2d[joint, :2]).astype(int)
        picture[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = colour
    record.initial, record.final, record.refined = picture // 2, picture, True
    score, iou, oks = rng.uniform(10, 60), rng.uniform(0.3, 1, 2), rng.uniform(0.5, 1, 2)
    record.measure(
        pose_score=score, frame_share=record.silhouette.mean(), visible_share=1.0, silhouette_iou=iou[0],
        silhouette_iou_initial=iou[1], oks=oks[0], oks_initial=oks[1], reestimate_pa_mpjpe=rng.uniform(20, 120),
    )  # fmt: skip


def make(
    job: JobSpec, units: int | None = None, rejected: Iterable[int] = (3,), two: Iterable[int] = (1,),
    failed: Iterable[int] = (),
) -> None:  # fmt: skip
    """The first units of the job that are missing (none: all). Record numbers in `rejected` and `failed` ended so,
    those in `two` show two people."""
    planned, number = plan(job), 0
    with open_ledger(job, planned) as ledger:
        for shard, index in list(ledger.missing())[:units]:
            unit = planned.unit(shard, index)
            for record in unit.records:
                number = int(record.key[-8:])
                if number in set(rejected):
                    record.reject(Reason.TOO_SMALL if number % 2 else Reason.NO_PERSON, "render")
                elif number in set(failed):
                    record.fail("on purpose", "refine")
                else:
                    fill(record, job.image_size, 2 if number in set(two) else 1)
            ledger.commit(shard, index, pack(unit, job))
            ledger.seal(shard)

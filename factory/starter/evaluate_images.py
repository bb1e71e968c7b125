"""Figures of the starter pack's pictures: a job's stages run on every action, and what the product's own eyes see.

The silhouette is the rendered body's where no object hides it. "Prompt followed" looks at the image alone: segmenter,
estimator, nearest action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from factory.engine.run import default_stages
from factory.geometry.agreement import iou
from factory.job import JobSpec
from factory.plan import plan
from factory.record import Record, State, Unit
from factory.stages.estimate import Estimate
from factory.stages.refine import human_region
from factory.stages.render import Render
from factory.starter.context import kept
from factory.starter.figures import Row, mean, percent
from factory.starter.follow import Actions

TOP = 3
MPII = 18  # the first of the world's actions are MPII's categories, the goal's own ground
Drawn = list[tuple[str, Record]]  # the action asked for, and what came of it
Track = Callable[[Sequence[Any]], Iterable[Any]]  # shows how far a loop over these is


def draw(job: JobSpec, each: int, seed: int, track: Track = list) -> Drawn:
    """`each` records of every action of the job through its stages, one unit at a time. `track` wraps the loop."""
    stages = [stage(job) for stage in default_stages(job)]
    actions = list(job.prompts.action)
    out: Drawn = []
    for i, action in enumerate(track(actions)):
        prompts = job.prompts.model_copy(update={"action": [action]})
        part = job.model_copy(update={"records": each, "seed": seed * len(actions) + i, "prompts": prompts})
        for unit in plan(part).iter_units():
            for stage in stages:
                unit = stage(unit)
            out += [(action, record) for record in unit.records]
    failed = [record.error for _, record in out if record.state is State.FAILED]
    if failed:
        raise RuntimeError(f"{len(failed)} records failed, the first: {failed[0]}")
    return out


def rows(drawn: Drawn, job: JobSpec, track: Track = list) -> list[Row]:
    """The pictures' lines of the table, of what `draw` has made of the job. `track` as for `draw`."""
    records, images = [record for _, record in drawn], "images with a person"
    fits, hmr = "initial images with silhouette IoU >= 0.5", job.stages.estimate.hmr
    alone = []
    if hmr and hmr.align:
        fits += ", bodies moved to that mask (align)"
        alone = [percent("HMR", "the same without align", _fits(unaligned(records, job, track)), images)]
    return [
        percent("text-to-image", "a person is found", [bool(r.people) for r in records], "images", 90),
        *followed(drawn),
        *_refined([record for record in records if record.refined]),
        percent("HMR", fits, _fits(records), images, 70),
        *alone,
    ]


def unaligned(records: list[Record], job: JobSpec, track: Track = list) -> list[Record]:
    """The records' first images estimated and rendered anew, each body where the estimator has put it."""
    estimate = job.stages.estimate
    hmr = estimate.hmr and estimate.hmr.model_copy(update={"align": False})
    stages = job.stages.model_copy(update={"estimate": estimate.model_copy(update={"hmr": hmr})})
    plain = job.model_copy(update={"stages": stages})
    anew = [Record(r.key, r.seed, r.prompt, initial=r.initial) for r in records]
    look, render = Estimate(plain), Render(plain)
    for start in track(range(0, len(anew), job.unit_size)):
        render(look(Unit(0, start, anew[start : start + job.unit_size])))
    return anew


def followed(drawn: Drawn) -> list[Row]:
    """The action asked for is among the three nearest to the pose of the surest person. Nobody there: not followed."""
    actions, seen = Actions(), [(action, r.people[0]) for action, r in drawn if r.people]
    poses = [np.concatenate([person.global_orient, person.body_pose]) for _, person in seen]
    hits = top3(actions, poses, [action for action, _ in seen])
    few = actions.names[:MPII]
    narrow = [(pose, action) for pose, (action, _) in zip(poses, seen, strict=True) if action in few]
    hits_few = top3(actions, [pose for pose, _ in narrow], [action for _, action in narrow], few)
    nobody = [False] * (len(drawn) - len(seen))
    nobody_few = [False] * (sum(action in few for action, _ in drawn) - len(narrow))
    chance, chance_few = TOP / len(actions.names), TOP / MPII
    return [
        percent("text-to-image", f"prompt followed, top-3 of all (chance {chance:.0%})", hits + nobody, "images", 60),
        percent(
            "text-to-image", f"the same among MPII's {MPII} (chance {chance_few:.0%})", hits_few + nobody_few, "images"
        ),
    ]


def top3(
    actions: Actions, poses: Iterable[np.ndarray], wanted: list[str], among: list[str] | None = None
) -> list[bool]:
    """poses: (72,) each, in the camera's frame; wanted: the action of each."""
    if not wanted:
        return []
    ranks = actions.rank(np.stack(list(poses)), among)
    return [action in rank[:TOP] for action, rank in zip(wanted, ranks, strict=True)]


def _refined(records: list[Record]) -> list[Row]:
    before = [r.metrics.get("silhouette_iou_initial", 0.0) for r in records]
    after = [r.metrics.get("silhouette_iou", 0.0) for r in records]
    context = [kept(r.array("initial"), r.array("final"), human_region(r)) for r in records]
    context = [value for value in context if value == value]
    part, n = "depth-to-image", len(records)
    return [
        Row(part, "silhouette IoU on the final image", mean(after), n, "images", goal=0.75),
        Row(part, "gain over the initial image", mean(after) - mean(before), n, "images", goal=0.10),
        Row(part, "silhouette IoU on the initial image", mean(before), n, "images"),
        Row(part, "context kept, MS-SSIM outside the person", mean(context), len(context), "images", goal=0.6),
    ]


def _fits(records: list[Record]) -> list[bool]:
    """Of every image with a person, those too that the render stage then rejected."""
    seen = [r for r in records if r.people and r.depth is not None]
    return [iou(r.array("depth") > 0, r.array("person_mask")) >= 0.5 for r in seen]

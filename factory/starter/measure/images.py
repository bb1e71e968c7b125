"""Figures of the images that the starter pack draws: a job's stages run on every action, judged by the pack's models.

The silhouette is that of the rendered body where no object hides it. "Prompt followed" is judged on the image alone:
the segmenter finds the person, the estimator the pose, and the nearest action is compared to the prompt.
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
from factory.starter.measure.context import context_kept
from factory.starter.measure.figures import Figure, mean, percent
from factory.starter.measure.nearest_action import NearestAction

TOP = 3
MPII = 18  # the first of the world's actions, which are MPII's categories
Drawn = list[tuple[str, Record]]  # the action of the prompt, and the finished record
Track = Callable[[Sequence[Any]], Iterable[Any]]  # wraps a loop to show its progress


def draw(job: JobSpec, each: int, seed: int, track: Track = list) -> Drawn:
    """Run `each` records of every action through the job's stages, unit by unit. RuntimeError: a record failed."""
    stages = [stage(job) for stage in default_stages(job)]
    actions = list(job.prompts.action)
    drawn: Drawn = []
    for i, action in enumerate(track(actions)):
        prompts = job.prompts.model_copy(update={"action": [action]})
        part = job.model_copy(update={"records": each, "seed": seed * len(actions) + i, "prompts": prompts})
        for unit in plan(part).iter_units():
            for stage in stages:
                unit = stage(unit)
            drawn += [(action, record) for record in unit.records]
    failed = [record.error for _, record in drawn if record.state is State.FAILED]
    if failed:
        raise RuntimeError(f"{len(failed)} records failed, the first: {failed[0]}")
    return drawn


def image_figures(drawn: Drawn, job: JobSpec, track: Track = list) -> list[Figure]:
    """The figures of the images that `draw` has made with the job."""
    records, images = [record for _, record in drawn], "images with a person"
    measure, hmr = "initial images with silhouette IoU >= 0.5", job.stages.estimate.hmr
    without_align = []
    if hmr and hmr.align:
        measure += ", bodies moved to that mask (align)"
        fits = _silhouette_fits(unaligned(records, job, track))
        without_align = [percent("HMR", "the same without align", fits, images)]
    return [
        percent("text-to-image", "a person is found", [bool(r.people) for r in records], "images", 90),
        *prompt_followed(drawn),
        *_refined([record for record in records if record.refined]),
        percent("HMR", measure, _silhouette_fits(records), images, 70),
        *without_align,
    ]


def unaligned(records: list[Record], job: JobSpec, track: Track = list) -> list[Record]:
    """The records' initial images estimated and rendered again, with each body where the estimator has put it."""
    estimate = job.stages.estimate
    hmr = estimate.hmr and estimate.hmr.model_copy(update={"align": False})
    stages = job.stages.model_copy(update={"estimate": estimate.model_copy(update={"hmr": hmr})})
    plain = job.model_copy(update={"stages": stages})
    fresh = [Record(r.key, r.seed, r.prompt, initial=r.initial) for r in records]
    estimate_stage, render_stage = Estimate(plain), Render(plain)
    for start in track(range(0, len(fresh), job.unit_size)):
        render_stage(estimate_stage(Unit(0, start, fresh[start : start + job.unit_size])))
    return fresh


def prompt_followed(drawn: Drawn) -> list[Figure]:
    """How often the action of the prompt is among the three nearest to the pose of the person detected with the highest
    score. An image in which no person is found counts as not followed."""
    nearest, with_person = NearestAction(), [(action, r.people[0]) for action, r in drawn if r.people]
    poses = [np.concatenate([person.global_orient, person.body_pose]) for _, person in with_person]
    hits = in_top3(nearest, poses, [action for action, _ in with_person])
    mpii = nearest.names[:MPII]
    of_mpii = [(pose, action) for pose, (action, _) in zip(poses, with_person, strict=True) if action in mpii]
    hits_mpii = in_top3(nearest, [pose for pose, _ in of_mpii], [action for _, action in of_mpii], mpii)
    hits += [False] * (len(drawn) - len(with_person))
    hits_mpii += [False] * (sum(action in mpii for action, _ in drawn) - len(of_mpii))
    chance, chance_mpii = TOP / len(nearest.names), TOP / MPII
    return [
        percent("text-to-image", f"prompt followed, top-3 of all (chance {chance:.0%})", hits, "images", 60),
        percent("text-to-image", f"the same among MPII's {MPII} (chance {chance_mpii:.0%})", hits_mpii, "images"),
    ]


def in_top3(
    nearest: NearestAction, poses: Iterable[np.ndarray], wanted: list[str], among: list[str] | None = None
) -> list[bool]:
    """For each pose (72,), camera frame: whether the wanted action is one of the three nearest."""
    if not wanted:
        return []
    ranks = nearest.rank(np.stack(list(poses)), among)
    return [action in rank[:TOP] for action, rank in zip(wanted, ranks, strict=True)]


def _refined(records: list[Record]) -> list[Figure]:
    """The figures of the refine stage. records: those that reached it."""
    before = [r.metrics.get("silhouette_iou_initial", 0.0) for r in records]
    after = [r.metrics.get("silhouette_iou", 0.0) for r in records]
    context = [context_kept(r.array("initial"), r.array("final"), human_region(r)) for r in records]
    context = [value for value in context if value == value]
    part, n = "depth-to-image", len(records)
    return [
        Figure(part, "silhouette IoU on the final image", mean(after), n, "images", goal=0.75),
        Figure(part, "gain over the initial image", mean(after) - mean(before), n, "images", goal=0.10),
        Figure(part, "silhouette IoU on the initial image", mean(before), n, "images"),
        Figure(part, "context kept, MS-SSIM outside the person", mean(context), len(context), "images", goal=0.6),
    ]


def _silhouette_fits(records: list[Record]) -> list[bool]:
    """For every initial image with a person: whether body and person overlap by an IoU of 0.5 or more. Records that the
    render stage rejected for it count too."""
    rendered = [r for r in records if r.people and r.depth is not None]
    return [iou(r.array("depth") > 0, r.array("person_mask")) >= 0.5 for r in rendered]

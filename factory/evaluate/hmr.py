"""How well an estimator of bodies estimates labelled people: what `factory evaluate hmr` computes.

The estimator is shown each person as fine-tuning shows them: the square that the labels give, whatever boxes it would
choose itself. So it must have been loaded with crop_scale 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from factory.errors import UserError
from factory.evaluate.bodies import MeasuredBody, PosedBodies
from factory.evaluate.bootstrap import IntervalValue, bootstrap, mean_terms
from factory.geometry.agreement import PCK_THRESHOLD, aligned_distance, crop_distances, mean_distance, oks, pck
from factory.geometry.camera import project, project_on_crop, weak_to_transl
from factory.geometry.joints import ANNOTATED_ONCE, J24_PART
from factory.labelled.base import SKELETON_H36M17, LabelledPeople
from factory.labelled.skeletons import RootedJoints, labelled_joints, scored_joints
from factory.models.bad_answer import BadAnswer
from factory.models.hmr.base import BodyEstimate, BodyEstimator, estimate_bodies

BATCH = 32  # people that the estimator sees at once
AUC_END = 0.2  # of the crop's side: the curve of PCK is measured from 0 to here
OKS_STEPS = np.arange(0.5, 1, 0.05)  # COCO's thresholds
EVERYBODY = "all"
UNITS = {  # figure -> its unit; those in mm are better when smaller, those in % when larger
    "MPJPE": "mm", "PA-MPJPE": "mm", "PVE": "mm", "PA-PVE": "mm", "PCK": "%", "pooled PCK": "%", "AUC": "%",
    "OKS": "%", "OKS-AP": "%",
}  # fmt: skip
Seen = Callable[[str, int, int], None]  # name of the data, people done, people in all


METHODS = [
    "PCK: J24 keypoints of confidence 1 that are nearer than 22.4 px in the crop of 224 px; PCK: the share of each "
    "person, and its mean over people, as in the paper; pooled PCK: over all joints at once",
    "AUC: pooled PCK, averaged over thresholds from 0 to 44.8 px",
    "OKS: COCO's, with 0.53 of the keypoints' box as area; OKS-AP: the share of people above 0.50 ... 0.95, since each "
    "person has one estimate",
    "beside each value: its 95 % interval, by bootstrap over people",
]


@dataclass(frozen=True, eq=False)
class PersonErrors:
    """What is measured of each of N people; NaN where it cannot be.

    mpjpe, pa_mpjpe, pve, pa_pve (N,) mm; oks (N,) 0 ... 1; distances (N, 24): of the J24 keypoints, as shares of the
    crop's side, infinite where the estimator finds nobody. estimates: one of each person; None: nobody was found.
    """

    mpjpe: np.ndarray
    pa_mpjpe: np.ndarray
    pve: np.ndarray
    pa_pve: np.ndarray
    oks: np.ndarray
    distances: np.ndarray
    estimates: list[BodyEstimate | None] = field(repr=False)


@dataclass(frozen=True, eq=False)
class EstimatorFigures:
    """figures: group (EVERYBODY, then each action) -> figure (a key of UNITS) -> value with its interval; what nobody
    has is left out. count: group -> people. methods, notes: how it was measured and what weakens it, a line each.
    errors: those of each person, in the order of the people."""

    data: str
    figures: dict[str, dict[str, IntervalValue]]
    count: dict[str, int]
    methods: list[str]
    notes: list[str]
    errors: PersonErrors


def evaluate_estimator(
    estimator: BodyEstimator, body: MeasuredBody, people: LabelledPeople, seen: Seen | None = None
) -> EstimatorFigures:
    """Estimate everybody and compare with the labels: 3D joints, from the labelled body or else `joints3d`; vertices,
    where the labels hold bodies; 2D keypoints. `estimator`: see the top of this module; `body`: the model that its
    betas belong to. UserError: the labels hold nothing to compare with, or bodies of another model; an image cannot be
    read."""
    body.require_betas_of(people)
    scored = (people.keypoints[:, J24_PART, 2] >= 1).any()
    if people.pose is None and people.joints3d is None and not scored:
        raise UserError(
            f"{people.name}: nothing to compare with: no body, no 3D joints, no J24 keypoint of confidence 1"
        )
    parts = []
    for first in range(0, len(people), BATCH):
        some = people.take(range(first, min(first + BATCH, len(people))))
        parts.append(_measure(estimator, body, some))
        if seen is not None:
            seen(people.name, first + len(some), len(people))
    errors = _joined(parts)
    groups = {EVERYBODY: np.arange(len(people))}
    actions = sorted(set(people.action) - {""})
    if len(actions) > 1:
        groups |= {action: np.flatnonzero(np.array(people.action) == action) for action in actions}
    return EstimatorFigures(
        people.name,
        {group: _figures(errors, rows) for group, rows in groups.items()},
        {group: len(rows) for group, rows in groups.items()},
        [body.about, _joints_words(people), *METHODS],
        [*body.notes, *_notes(body, people, errors)],
        errors,
    )


def _measure(estimator: BodyEstimator, body: MeasuredBody, people: LabelledPeople) -> PersonErrors:
    images = people.read(range(len(people)))
    estimates = _estimates(estimator, images, people.crop)
    found = [row for row, estimate in enumerate(estimates) if estimate is not None]
    count = len(people)
    mpjpe, pa_mpjpe, pve, pa_pve, similar = np.full((5, count), np.nan)
    sure = people.keypoints[:, J24_PART, 2] >= 1
    distances = np.where(sure, np.inf, np.nan)
    if found:
        known = [estimate for estimate in estimates if estimate is not None]
        bodies, some = BodyEstimate.joined(known), people.take(found)
        posed = body.pose(np.concatenate([bodies.global_orient, bodies.body_pose], 1), bodies.betas)
        mpjpe[found], pa_mpjpe[found], pve[found], pa_pve[found] = _errors_3d(posed, body, some)
        points = project_estimates(known, posed.spin49)
        distances[found] = crop_distances(points[:, J24_PART], some.keypoints[:, J24_PART], some.crop[:, 2])
        similar[found] = _oks(points, some.keypoints)
    return PersonErrors(mpjpe, pa_mpjpe, pve, pa_pve, similar, distances, estimates)


def _estimates(estimator: BodyEstimator, images: list[np.ndarray], crops: np.ndarray) -> list[BodyEstimate | None]:
    """One estimate of each person, None where the estimator finds nobody. An estimator that finds people itself looks
    at one image at a time, because it gives up on a batch in one of whose images it finds nobody."""
    half = crops[:, 2:] / 2
    boxes = np.concatenate([crops[:, :2] - half, crops[:, :2] + half], 1)
    batches = [[row] for row in range(len(images))] if estimator.finds else [list(range(len(images)))]
    found: list[BodyEstimate | None] = []
    for rows in batches:
        try:
            found += estimate_bodies(estimator, [images[row] for row in rows], [boxes[[row]] for row in rows])
        except BadAnswer as error:
            raise UserError(f"the estimator fails: {error}") from error
        except ValueError:  # nobody is found
            if not estimator.finds:
                raise
            found.append(None)
    return found


def _errors_3d(posed: PosedBodies, body: MeasuredBody, people: LabelledPeople) -> np.ndarray:
    """(4, N) mm: MPJPE, PA-MPJPE, PVE, PA-PVE."""
    errors = np.full((4, len(people)), np.nan)
    with_pose = np.zeros(len(people), bool)
    if people.pose is not None and people.betas is not None:
        with_pose = np.isfinite(people.pose).all(1) & np.isfinite(people.betas).all(1)
        rows = np.flatnonzero(with_pose)
        if len(rows):
            some = people.take(rows)
            truth = body.pose(some.pose, some.betas, some.gender)  # type: ignore[arg-type]  # both are there
            errors[:2, rows] = _joint_errors(_rows(posed.joints, rows), truth.joints, people.skeleton)
            errors[2, rows] = mean_distance(posed.vertices[rows], truth.vertices)
            errors[3, rows] = aligned_distance(posed.vertices[rows], truth.vertices)
    rest = np.flatnonzero(~with_pose)
    if people.joints3d is not None and people.skeleton is not None and len(rest):
        truth_joints = labelled_joints(people.joints3d[rest], people.skeleton)
        errors[:2, rest] = _joint_errors(_rows(posed.joints, rest), truth_joints, people.skeleton)
    return errors


def _rows(joints: RootedJoints, rows: np.ndarray) -> RootedJoints:
    return RootedJoints(joints.points[rows], joints.known[rows], joints.root[rows])


def _joint_errors(found: RootedJoints, truth: RootedJoints, skeleton: str | None) -> tuple[np.ndarray, np.ndarray]:
    picks = list(scored_joints(skeleton))
    known = (found.known & truth.known)[:, picks]
    points, target = found.points[:, picks], truth.points[:, picks]
    return mean_distance(points, target, known), aligned_distance(points, target, known)


def project_estimates(estimates: list[BodyEstimate], spin49: np.ndarray) -> np.ndarray:
    """estimates: one person each, N of them; spin49 (N, 49, 3) m as posed -> (N, 49, 2) px of the image: where each
    estimate's camera sees the joints."""
    points = []
    for estimate, joints in zip(estimates, spin49[:, None], strict=True):
        camera, crop = estimate.camera.astype(np.float64), estimate.crop.astype(np.float64)
        if estimate.K is None:
            points.append(crop[:, None, :2] + crop[:, None, 2:] / 2 * project_on_crop(joints, camera))
        else:
            K = estimate.K.astype(np.float64)
            points.append(project(joints + weak_to_transl(camera, crop, K)[:, None], K))
    return np.concatenate(points)


def _oks(points: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """COCO's keypoint similarity of points (N, 49, 2) px to the keypoints (N, 49, 3). Joints that are labelled in the
    J24 part alone are taken from there. NaN where none of COCO's joints is labelled."""
    points, target = points.copy(), keypoints.astype(np.float64)
    openpose, j24 = np.transpose(ANNOTATED_ONCE)
    j24 = J24_PART.start + j24
    rows, joints = np.nonzero((target[:, openpose, 2] <= 0) & (target[:, j24, 2] > 0))
    points[rows, openpose[joints]] = points[rows, j24[joints]]
    target[rows, openpose[joints]] = target[rows, j24[joints]]
    known = target[..., 2:] > 0
    low = np.where(known, target[..., :2], np.inf).min(1)
    high = np.where(known, target[..., :2], -np.inf).max(1)
    box = np.where(known.any(1), np.concatenate([low, high], 1), 0)
    return oks(points, target, box)


def _figures(errors: PersonErrors, rows: np.ndarray) -> dict[str, IntervalValue]:
    distances = errors.distances[rows]
    known = ~np.isnan(distances)
    joints = known.sum(1).astype(np.float64)
    near = (known & (distances < PCK_THRESHOLD)).sum(1)
    area = np.where(known, (1 - distances / AUC_END).clip(0), 0).sum(1)  # under each joint's step from 0 to 1
    passed = np.where(np.isfinite(errors.oks[rows]), (errors.oks[rows, None] > OKS_STEPS).mean(1), np.nan)
    terms = {
        "MPJPE": mean_terms(errors.mpjpe[rows]),
        "PA-MPJPE": mean_terms(errors.pa_mpjpe[rows]),
        "PVE": mean_terms(errors.pve[rows]),
        "PA-PVE": mean_terms(errors.pa_pve[rows]),
        "PCK": mean_terms(100 * pck(distances)),
        "pooled PCK": (100.0 * near, joints),
        "AUC": (100 * area, joints),
        "OKS": mean_terms(100 * errors.oks[rows]),
        "OKS-AP": mean_terms(100 * passed),
    }
    above, below = (np.stack(columns, 1) for columns in zip(*terms.values(), strict=True))
    return {name: figure for name, figure in zip(terms, bootstrap(above, below), strict=True) if figure is not None}


def _joined(parts: list[PersonErrors]) -> PersonErrors:
    arrays = ("mpjpe", "pa_mpjpe", "pve", "pa_pve", "oks", "distances")
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    return PersonErrors(**whole, estimates=[estimate for part in parts for estimate in part.estimates])


def _joints_words(people: LabelledPeople) -> str:
    if people.pose is None and people.joints3d is None:
        return "no 3D labels: MPJPE, PA-MPJPE and PVE cannot be measured"
    count = len(scored_joints(people.skeleton))
    which = "Ski-Pose's, without the 10th" if people.skeleton == SKELETON_H36M17 else "LSP's, as 3DPW's and Human3.6M's"
    truth = "the labelled bodies" if people.pose is not None else "the labelled 3D joints"
    return f"MPJPE, PA-MPJPE: {count} joints, {which}; root: the pelvis; truth: {truth}"


def _notes(body: MeasuredBody, people: LabelledPeople, errors: PersonErrors) -> list[str]:
    notes = []
    count = len(people)
    if missed := sum(estimate is None for estimate in errors.estimates):
        notes.append(
            f"the estimator finds nobody in {missed:,} of {count:,} crops: they count as wrong in PCK and AUC, and are "
            f"left out of the other figures"
        )
    if (people.pose is not None or people.joints3d is not None) and (
        blank := int(np.isnan(errors.mpjpe).sum()) - missed
    ) > 0:
        notes.append(f"{blank:,} of {count:,} people have no 3D label and count for 2D alone")
    if unsure := int((~(people.keypoints[:, J24_PART, 2] >= 1).any(1)).sum()):
        notes.append(f"{unsure:,} of {count:,} people have no J24 keypoint of confidence 1, so no PCK")
    if people.gender and set(people.gender) - {""} - body.gendered.keys():
        notes.append(
            f"the labels are of male and female bodies, and {body.name} stands for them: put SMPL_MALE and SMPL_FEMALE "
            f"beside it"
        )
    return notes

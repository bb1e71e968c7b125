"""Figures of the starter pack's perception on held-out renders: estimator, segmenter and pose prior.

The estimator works as in the estimate stage: on the boxes that the segmenter finds. Ground
truth is only used afterwards, to match each detection to a person and to measure the error.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from factory.geometry.agreement import iou, mean_distance, procrustes
from factory.geometry.joints import BENCHMARK_PART
from factory.models.detectors.base import Instance
from factory.models.hmr.base import BodyEstimate, BodyEstimator
from factory.starter.cache import Cache
from factory.starter.figures import Row, mean, percent
from factory.starter.pack import resolve
from factory.starter.people import CROP_SCALE, Skeleton, people
from factory.starter.world.actions import ACTIONS
from factory.starter.world.scene import FIRST_OBJECT

MIN_PIXELS = 12  # less of an object counts as none
MATCH = 0.5  # IoU of masks from which a detected person is the true one
Detections = list[list[Instance]]  # of each image


def detect(cache: Cache, limit: int) -> Detections:
    """What the segmenter sees in the first `limit` scenes."""
    from factory.models.detectors.mask2former import Mask2Former

    network, size = Mask2Former(resolve("starter:detector")), min(limit, len(cache))
    batches = [range(start, min(start + 32, size)) for start in range(0, size, 32)]
    return [found for rows in batches for found in network.detect([np.array(cache.images[i]) for i in rows])]


def detector(cache: Cache, seen: Detections) -> list[Row]:
    """IoU of the union of people and of objects, over images that have them; and how often a person is found."""
    persons, objects, found = [], [], []
    for truth, instances in zip(cache.instances, seen, strict=False):
        union = {
            label: np.any([i.mask for i in instances if i.label == label] or [np.zeros_like(truth, bool)], axis=0)
            for label in ("person", "object")
        }
        if (person := (truth > 0) & (truth < FIRST_OBJECT)).any():
            persons.append(iou(union["person"], person))
            found.append(bool(union["person"].any()))
        if (thing := truth >= FIRST_OBJECT).sum() >= MIN_PIXELS:
            objects.append(iou(union["object"], thing))
    return [
        Row("segmenter", "person IoU on renders", mean(persons), len(persons), "images", goal=0.88),
        Row("segmenter", "object IoU on renders", mean(objects), len(objects), "images", goal=0.70),
        percent("segmenter", "renders in which a person is found", found, "images"),
    ]


def hmr(cache: Cache, seen: Detections) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """Errors of 14 joints and all vertices, mm, pelvis at the origin; and the same by action. On the boxes of `seen`,
    and beside that on true ones, to tell what the segmenter costs."""
    some = people(cache, Skeleton(resolve("starter:body")))
    index = np.flatnonzero(some.image < len(seen))
    boxes = _matched(cache, some.image[index], some.slot[index], seen)
    found = np.array([box is not None for box in boxes])
    image, slot = some.image[index][found], some.slot[index][found]
    errors = _errors(cache, image, slot, [box for box in boxes if box is not None])
    half = some.crop[index, 2:] / (2 * CROP_SCALE)
    true = np.concatenate([some.crop[index, :2] - half, some.crop[index, :2] + half], 1)
    best = _errors(cache, some.image[index], some.slot[index], list(true))
    n = len(image)
    rows = [
        Row("HMR", "PA-MPJPE on held-out renders", mean(errors["pa_mpjpe"]), n, "people", "mm", 55, True),
        Row("HMR", "MPJPE on held-out renders", mean(errors["mpjpe"]), n, "people", "mm", 90, True),
        Row("HMR", "mean vertex error on held-out renders", mean(errors["vertices"]), n, "people", "mm"),
        percent("HMR", "people found by the segmenter, others are left out", list(found), "people"),
        Row(
            "HMR",
            "PA-MPJPE, whom the segmenter misses too, true boxes",
            mean(best["pa_mpjpe"]),
            len(index),
            "people",
            "mm",
        ),
        Row("HMR", "MPJPE, whom the segmenter misses too, true boxes", mean(best["mpjpe"]), len(index), "people", "mm"),
    ]
    action, names = np.asarray(cache.action)[image], list(ACTIONS)
    table: dict[str, dict[str, float]] = {}
    for i in np.unique(action):
        mine = action == i
        table[names[i]] = {key: mean(value[mine]) for key, value in errors.items()} | {"people": int(mine.sum())}
    return rows, table


def vposer(cache: Cache, limit: int) -> list[Row]:
    """Reconstruction of the first person's pose, mean over 21 joints; how well the score tells hard from easy."""
    from factory.geometry.rotations import axis_angle_to_matrix
    from factory.models.priors.vposer import VPoserPrior

    prior, size = VPoserPrior(resolve("starter:vposer")), min(limit, len(cache))
    body = torch.tensor(cache.pose[:size, 0, 3:66])
    with torch.no_grad():
        rebuilt = prior.network.decode(prior.network.encode(body).mean).view(-1, 21, 3, 3)
    cosine = ((rebuilt * axis_angle_to_matrix(body.view(-1, 21, 3))).sum((2, 3)) - 1) / 2
    degrees = torch.rad2deg(cosine.clamp(-1, 1).acos()).mean(1).tolist()
    score = prior.score(np.array(cache.pose[:size, 0, 3:]), list(range(size)))
    hard = np.asarray(cache.hard[:size])
    return [
        Row("VPoser", "reconstruction, mean per joint", mean(degrees), size, "poses", "degrees", 8, True),
        Row("VPoser", "score tells hard from easy, ROC AUC", auc(score[hard], score[~hard]), size, "poses", goal=0.9),
        percent("VPoser", "hard poses above tau = 30", list(score[hard] > 30), "poses"),
        percent("VPoser", "easy poses above tau = 30", list(score[~hard] > 30), "poses"),
    ]


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """Chance that a draw from `high` exceeds one from `low`: the area under the ROC curve. NaN where one is empty."""
    order = np.concatenate([high, low]).argsort(kind="stable").argsort()
    pairs = len(high) * len(low)
    return float((order[: len(high)].sum() - len(high) * (len(high) - 1) / 2) / pairs) if pairs else float("nan")


def poses(cache: Cache, seen: Detections) -> tuple[np.ndarray, np.ndarray]:
    """The pose (N, 72) that the estimator gives the surest person of each scene, and the scene (N,)."""
    from factory.models.hmr.spin import load_spin

    scenes = np.array([i for i, found in enumerate(seen) if any(one.label == "person" for one in found)], int)
    boxes = [next(one.bbox for one in seen[i] if one.label == "person") for i in scenes]
    return _estimate(load_spin("starter:hmr"), cache, scenes, boxes)[0], scenes


def _matched(cache: Cache, image: np.ndarray, slot: np.ndarray, seen: Detections) -> list[np.ndarray | None]:
    """For each true person the box of the detected one, or None. One to one within an image."""
    boxes: list[np.ndarray | None] = [None] * len(image)
    for number in np.unique(image):
        rows = np.flatnonzero(image == number)
        found = [one for one in seen[number] if one.label == "person"]
        truth = np.asarray(cache.instances[number])
        overlap = np.array([[iou(truth == slot[row] + 1, one.mask) for one in found] for row in rows])
        if not found:
            continue
        for i, j in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[i, j] >= MATCH:
                boxes[rows[i]] = np.asarray(found[j].bbox)
    return boxes


def _errors(cache: Cache, image: np.ndarray, slot: np.ndarray, boxes: list[np.ndarray]) -> dict[str, np.ndarray]:
    from factory.geometry.body import BodyModel, spin49
    from factory.models.hmr.spin import load_spin

    body, network = BodyModel("starter:body"), load_spin("starter:hmr", crop_scale=CROP_SCALE)

    def posed(pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turns, shape = torch.tensor(pose), torch.tensor(betas)
        vertices, joints = body(turns[:, :3], turns[:, 3:], shape, torch.zeros(len(turns), 3))
        origin = joints[:, :1]
        return (vertices - origin).numpy(), spin49(joints - origin)[:, BENCHMARK_PART].numpy()

    rows: dict[str, list[np.ndarray]] = {key: [np.zeros(0)] for key in ("mpjpe", "pa_mpjpe", "vertices")}
    for start in range(0, len(image), 64):
        part = slice(start, start + 64)
        vertices, joints = posed(*_estimate(network, cache, image[part], boxes[part]))
        true_vertices, true_joints = posed(cache.pose[image[part], slot[part]], cache.betas[image[part], slot[part]])
        rows["vertices"].append(mean_distance(vertices, true_vertices))
        rows["mpjpe"].append(mean_distance(joints, true_joints))
        rows["pa_mpjpe"].append(mean_distance(procrustes(joints, true_joints), true_joints))
    return {key: np.concatenate(value) for key, value in rows.items()}


def _estimate(
    network: BodyEstimator, cache: Cache, image: np.ndarray, boxes: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """One box per image -> pose (N, 72), betas (N, 10)."""
    estimates = network.estimate([np.array(cache.images[i]) for i in image], [box[None] for box in boxes])
    bodies = BodyEstimate.joined(estimates)
    return np.concatenate([bodies.global_orient, bodies.body_pose], 1), bodies.betas

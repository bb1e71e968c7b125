"""Figures of the starter pack's estimator, segmenter and pose prior on held-out renders.

The estimator works as in the estimate stage, on the boxes that the segmenter finds. The ground truth is used only
afterwards: each detection is matched to the person it overlaps most, and the error is measured.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from factory.geometry.agreement import iou, mean_distance, procrustes
from factory.geometry.body import BodyModel, spin49
from factory.geometry.joints import BENCHMARK_PART
from factory.models.detectors.base import Instance
from factory.models.hmr.base import BodyEstimate, BodyEstimator
from factory.starter.measure.figures import Figure, mean, percent
from factory.starter.world.actions import ACTIONS
from factory.starter.world.cache import Cache
from factory.starter.world.people import CROP_SCALE, visible_people
from factory.starter.world.scene import FIRST_OBJECT
from factory.weights.locate import resolve

SMALLEST_OBJECT = 12  # pixels; an image whose objects cover fewer counts as one without objects
MATCH = 0.5  # IoU of the masks from which on a detection is matched to a person
Detections = list[list[Instance]]  # for each image


def detect(cache: Cache, limit: int) -> Detections:
    """The instances that the segmenter finds in each of the first `limit` scenes, people by falling score."""
    from factory.models.detectors.mask2former import Mask2Former

    network, size = Mask2Former(resolve("starter:detector")), min(limit, len(cache))
    batches = [range(start, min(start + 32, size)) for start in range(0, size, 32)]
    return [image for rows in batches for image in network.detect([np.array(cache.images[i]) for i in rows])]


def segmenter_figures(cache: Cache, detections: Detections) -> list[Figure]:
    """IoU of the union of people and of objects over the images that have them, and how often a person is found."""
    persons, objects, found = [], [], []
    for truth, instances in zip(cache.instances, detections, strict=False):
        union = {
            label: np.any([i.mask for i in instances if i.label == label] or [np.zeros_like(truth, bool)], axis=0)
            for label in ("person", "object")
        }
        if (person := (truth > 0) & (truth < FIRST_OBJECT)).any():
            persons.append(iou(union["person"], person))
            found.append(bool(union["person"].any()))
        if (thing := truth >= FIRST_OBJECT).sum() >= SMALLEST_OBJECT:
            objects.append(iou(union["object"], thing))
    return [
        Figure("segmenter", "person IoU on renders", mean(persons), len(persons), "images", goal=0.88),
        Figure("segmenter", "object IoU on renders", mean(objects), len(objects), "images", goal=0.70),
        percent("segmenter", "renders in which a person is found", found, "images"),
    ]


def estimator_figures(cache: Cache, detections: Detections) -> tuple[list[Figure], dict[str, dict[str, float]]]:
    """Errors of 14 joints and of all vertices, mm, with the pelvis at the origin; and the same by action.

    On the boxes of the detections, and also on true boxes, which shows what the segmenter costs.
    """
    people = visible_people(cache, BodyModel("starter:body"))
    index = np.flatnonzero(people.image < len(detections))
    boxes = _matched(cache, people.image[index], people.slot[index], detections)
    found = np.array([box is not None for box in boxes])
    image, slot = people.image[index][found], people.slot[index][found]
    errors = _errors(cache, image, slot, [box for box in boxes if box is not None])
    half = people.crop[index, 2:] / (2 * CROP_SCALE)
    true_boxes = np.concatenate([people.crop[index, :2] - half, people.crop[index, :2] + half], 1)
    best = _errors(cache, people.image[index], people.slot[index], list(true_boxes))
    n, everybody = len(image), "whom the segmenter misses too, true boxes"
    rows = [
        Figure("HMR", "PA-MPJPE on held-out renders", mean(errors["pa_mpjpe"]), n, "people", "mm", 55, True),
        Figure("HMR", "MPJPE on held-out renders", mean(errors["mpjpe"]), n, "people", "mm", 90, True),
        Figure("HMR", "mean vertex error on held-out renders", mean(errors["vertices"]), n, "people", "mm"),
        percent("HMR", "people found by the segmenter, others are left out", list(found), "people"),
        Figure("HMR", f"PA-MPJPE, {everybody}", mean(best["pa_mpjpe"]), len(index), "people", "mm"),
        Figure("HMR", f"MPJPE, {everybody}", mean(best["mpjpe"]), len(index), "people", "mm"),
    ]
    action, names = np.asarray(cache.action)[image], list(ACTIONS)
    table: dict[str, dict[str, float]] = {}
    for i in np.unique(action):
        rows_of_action = action == i
        means = {key: mean(value[rows_of_action]) for key, value in errors.items()}
        table[names[i]] = means | {"people": int(rows_of_action.sum())}
    return rows, table


def prior_figures(cache: Cache, limit: int) -> list[Figure]:
    """The prior's reconstruction of the first person's pose, mean over 21 joints, and how well its score separates hard
    from easy poses."""
    from factory.geometry.rotations import axis_angle_to_matrix
    from factory.models.priors.choice import load_prior

    prior, size = load_prior("vposer-v1", resolve("starter:vposer")), min(limit, len(cache))
    body = torch.tensor(cache.pose[:size, 0, 3:66])
    with torch.no_grad():
        rebuilt = prior.network.decode(prior.network.encode(body).mean).view(-1, 21, 3, 3)
    cosine = ((rebuilt * axis_angle_to_matrix(body.view(-1, 21, 3))).sum((2, 3)) - 1) / 2
    degrees = torch.rad2deg(cosine.clamp(-1, 1).acos()).mean(1).tolist()
    score = prior.score(np.array(cache.pose[:size, 0, 3:]), list(range(size)))
    hard = np.asarray(cache.hard[:size])
    return [
        Figure("VPoser", "reconstruction, mean per joint", mean(degrees), size, "poses", "degrees", 8, True),
        Figure(
            "VPoser", "score tells hard from easy, ROC AUC", auc(score[hard], score[~hard]), size, "poses", goal=0.9
        ),
        percent("VPoser", "hard poses above tau = 30", list(score[hard] > 30), "poses"),
        percent("VPoser", "easy poses above tau = 30", list(score[~hard] > 30), "poses"),
    ]


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """The area under the ROC curve: the probability that a value of `high` exceeds one of `low`. NaN where either is
    empty."""
    order = np.concatenate([high, low]).argsort(kind="stable").argsort()
    pairs = len(high) * len(low)
    return float((order[: len(high)].sum() - len(high) * (len(high) - 1) / 2) / pairs) if pairs else float("nan")


def estimated_poses(cache: Cache, detections: Detections) -> tuple[np.ndarray, np.ndarray]:
    """The estimated pose (N, 72) of the person with the highest score in each scene with one, and the scene (N,)."""
    from factory.models.hmr.spin import load_spin

    people = [[instance for instance in instances if instance.label == "person"] for instances in detections]
    scenes = np.array([i for i, instances in enumerate(people) if instances], int)
    boxes = [people[i][0].bbox for i in scenes]
    return _estimate(load_spin("starter:hmr"), cache, scenes, boxes)[0], scenes


def _matched(cache: Cache, image: np.ndarray, slot: np.ndarray, detections: Detections) -> list[np.ndarray | None]:
    """For each true person the box (4,) px of the detection that is matched to it, or None. Within an image the pairs
    are chosen for the largest sum of overlaps."""
    boxes: list[np.ndarray | None] = [None] * len(image)
    for number in np.unique(image):
        rows = np.flatnonzero(image == number)
        people = [instance for instance in detections[number] if instance.label == "person"]
        truth = np.asarray(cache.instances[number])
        overlap = np.array([[iou(truth == slot[row] + 1, person.mask) for person in people] for row in rows])
        if not people:
            continue
        for i, j in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[i, j] >= MATCH:
                boxes[rows[i]] = np.asarray(people[j].bbox)
    return boxes


def _errors(cache: Cache, image: np.ndarray, slot: np.ndarray, boxes: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Errors (N,) mm of the bodies estimated on one box (4,) px a person: `mpjpe`, `pa_mpjpe`, `vertices`."""
    from factory.models.hmr.spin import load_spin

    body, network = BodyModel("starter:body"), load_spin("starter:hmr", crop_scale=CROP_SCALE)

    def posed(pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (N, V, 3) and the 14 joints (N, 14, 3) m, pelvis at the origin."""
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
    """image (N,) rows of the cache, one box (4,) px for each -> pose (N, 72), betas (N, 10)."""
    estimates = network.estimate([np.array(cache.images[i]) for i in image], [box[None] for box in boxes])
    bodies = BodyEstimate.joined(estimates)
    return np.concatenate([bodies.global_orient, bodies.body_pose], 1), bodies.betas

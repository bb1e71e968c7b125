"""Held-out figures of the starter pack's perception: HMR, segmenter and pose prior on scenes never trained on.

    python -m factory.starter.evaluate --cache DIR [--limit 1000] [--json]

Crops are cut around the visible pixels of the truth, so that the HMR figures do not depend on the segmenter.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from factory.models.agreement import J14, iou, mean_distance, procrustes
from factory.starter.cache import Cache, load
from factory.starter.pack import resolve

OBJECT = 10  # instance values from here on are objects
MIN_PIXELS = 12  # less of an object counts as none


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """Chance that a draw from `high` exceeds one from `low`: the area under the ROC curve."""
    order = np.concatenate([high, low]).argsort(kind="stable").argsort()
    return float((order[: len(high)].sum() - len(high) * (len(high) - 1) / 2) / (len(high) * len(low)))


def hmr(cache: Cache, limit: int) -> dict[str, float]:
    """MPJPE, PA-MPJPE (14 joints, and SMPL's 24) and vertex error, mm, pelvis at the origin; also for hard actions."""
    from factory.models.body import BodyModel, spin49
    from factory.models.hmr import HMR
    from factory.starter.train.hmr import CROP_SCALE, Skeleton, people

    body, network = BodyModel(resolve("starter:body")), HMR(resolve("starter:hmr"), crop_scale=CROP_SCALE)
    some = people(cache, Skeleton(resolve("starter:body")))
    rows: dict[str, list[np.ndarray]] = {key: [] for key in ("mpjpe", "pa_mpjpe", "mpjpe24", "pa_mpjpe24", "vertices")}
    size = min(limit, len(some))

    def posed(pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pose, betas = torch.tensor(pose), torch.tensor(betas)
        vertices, joints = body(pose[:, :3], pose[:, 3:], betas, torch.zeros(len(pose), 3))
        origin = joints[:, :1]
        return (vertices - origin).numpy(), (joints - origin).numpy()

    for start in range(0, size, 64):
        index = np.arange(start, min(start + 64, size))
        half = some.crop[index, 2:] / (2 * CROP_SCALE)
        boxes = np.concatenate([some.crop[index, :2] - half, some.crop[index, :2] + half], 1)
        found = network.estimate([cache.images[i] for i in some.image[index]], [box[None] for box in boxes])
        pose = np.stack([np.concatenate([f["global_orient"], f["body_pose"]]) for (f,) in found])
        vertices, joints = posed(pose, np.stack([f["betas"] for (f,) in found]))
        truth = cache.pose[some.image[index], some.slot[index]]
        true_vertices, true_joints = posed(truth, cache.betas[some.image[index], some.slot[index]])
        rows["vertices"].append(mean_distance(vertices, true_vertices))
        picks = {"": [spin49(torch.from_numpy(j))[:, J14].numpy() for j in (joints, true_joints)]}
        picks["24"] = [j[:, :24] for j in (joints, true_joints)]
        for name, (estimate, goal) in picks.items():
            rows["mpjpe" + name].append(mean_distance(estimate, goal))
            rows["pa_mpjpe" + name].append(mean_distance(procrustes(estimate, goal), goal))
    values = {key: np.concatenate(value) for key, value in rows.items()}
    hard = np.asarray(cache.hard)[some.image[:size]]
    out = {key: float(value.mean()) for key, value in values.items()}
    out |= {"mpjpe_hard": float(values["mpjpe"][hard].mean()), "pa_mpjpe_hard": float(values["pa_mpjpe"][hard].mean())}
    return {**out, "people": size}


def detector(cache: Cache, limit: int) -> dict[str, float]:
    """Mean IoU of the union of people and of objects, over images that have them; and how often a person is found."""
    from factory.models.detector import Mask2Former

    network, size = Mask2Former(resolve("starter:detector")), min(limit, len(cache))
    people, objects, found = [], [], []
    for start in range(0, size, 32):
        images = [np.array(image) for image in cache.images[start : min(start + 32, size)]]
        for truth, instances in zip(cache.instances[start : start + 32], network.detect(images), strict=False):
            union = {
                label: np.any([i.mask for i in instances if i.label == label] or [np.zeros_like(truth, bool)], axis=0)
                for label in ("person", "object")
            }
            if ((truth > 0) & (truth < OBJECT)).any():
                people.append(iou(union["person"], (truth > 0) & (truth < OBJECT)))
                found.append(union["person"].any())
            if (truth >= OBJECT).sum() >= MIN_PIXELS:
                objects.append(iou(union["object"], truth >= OBJECT))
    return {
        "person_iou": float(np.mean(people)), "person_found": float(np.mean(found)),
        "object_iou": float(np.mean(objects)), "images": size, "images_with_objects": len(objects),
    }  # fmt: skip


def vposer(cache: Cache, limit: int) -> dict[str, float]:
    """Reconstruction error (degrees, mean over 21 joints) and how well the score tells hard actions from easy ones."""
    from factory.models.prior import VPoserPrior
    from factory.models.rotations import axis_angle_to_matrix

    prior, size = VPoserPrior(resolve("starter:vposer")), min(limit, len(cache))
    body = torch.tensor(cache.pose[:size, 0, 3:66])
    with torch.no_grad():
        rebuilt = prior.network.decode(prior.network.encode(body).mean).view(-1, 21, 3, 3)
    truth = axis_angle_to_matrix(body.view(-1, 21, 3))
    cosine = ((rebuilt * truth).sum((2, 3)) - 1) / 2
    score = prior.score(cache.pose[:size, 0, 3:], list(range(size)))
    hard = np.asarray(cache.hard[:size])
    return {
        "reconstruction_degrees": float(torch.rad2deg(cosine.clamp(-1, 1).acos()).mean()),
        "score_auc": auc(score[hard], score[~hard]),
        "hard_above_30": float((score[hard] > 30).mean()), "easy_above_30": float((score[~hard] > 30).mean()),
        "poses": size,
    }  # fmt: skip


PARTS = {"hmr": hmr, "detector": detector, "vposer": vposer}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", required=True, help="a cache of held-out seeds")
    parser.add_argument("--limit", type=int, default=1000, help="people, images or poses used at most")
    parser.add_argument("--part", choices=list(PARTS), action="append", help="only this; may be repeated")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    cache = load(args.cache)
    figures = {part: PARTS[part](cache, args.limit) for part in args.part or PARTS}
    if args.json:
        print(json.dumps(figures, indent=1))
        return
    for part, values in figures.items():
        for name, value in values.items():
            print(f"{part:9} {name:24} {value:8.3f}" if isinstance(value, float) else f"{part:9} {name:24} {value:8}")


if __name__ == "__main__":
    main()

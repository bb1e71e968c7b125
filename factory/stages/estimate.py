"""Stage 2: who is in the image, which body fits each of them, how hard their poses are, and what occludes them."""

from __future__ import annotations

import numpy as np

from factory.record import Person, Reason, Record
from factory.stages.base import Stage


class Estimate(Stage):
    """Fills `people`, `pose_score` and the two masks. Rejects records without a person, and easy ones if told so."""

    name = "estimate"

    def setup(self) -> None:
        from factory.models.body import BodyModel
        from factory.models.detector import load_detector
        from factory.models.device import pick
        from factory.models.hmr import HMR
        from factory.models.prior import VPoserPrior
        from factory.starter.pack import resolve

        spec = self.job.stages.estimate
        self.device = pick(spec.device)
        self.detector = load_detector(spec.detector.kind, spec.detector.model, spec.detector.threshold, self.device)
        self.hmr = HMR(resolve(spec.hmr.model), self.device, spec.hmr.crop_scale)
        self.prior = VPoserPrior(resolve(spec.prior.model), self.device)
        self.body = BodyModel(resolve(self.job.body.model), self.device)

    def process(self, records: list[Record]) -> None:
        spec = self.job.stages.estimate
        images = [record.array("initial") for record in records]
        instances = self.detector.detect(images)
        people = [[i for i in found if i.label == "person"] for found in instances]
        objects = [[i for i in found if i.label == "object"] for found in instances]
        boxes = [np.array([i.bbox for i in some[: spec.max_people]]).reshape(-1, 4) for some in people]
        bodies = self.hmr.estimate(images, boxes)
        for record, seen, things, estimates in zip(records, people, objects, bodies, strict=True):
            shape = record.array("initial").shape[:2]
            record.person_mask, record.object_mask = _union(seen, shape), _union(things, shape)
            scores = [float(i.score) for i in seen]
            record.people = self._people(record, estimates, scores) if estimates else []
            record.pose_score = max((person.pose_score for person in record.people), default=0.0)
            if not record.people:
                record.reject(Reason.NO_PERSON, self.name)
            elif spec.easy == "drop" and record.pose_score <= spec.prior.tau:
                record.reject(Reason.EASY, self.name)

    def _people(self, record: Record, estimates: list[dict[str, np.ndarray]], scores: list[float]) -> list[Person]:
        """The estimates as rows: in the camera of the whole image, with joints, box and score.

        Joints outside the image have confidence 0 in 2D; all have 1 in 3D.
        """
        import torch

        from factory.models.body import spin49
        from factory.models.camera import full_image_K, project, weak_to_transl

        height, width = record.array("initial").shape[:2]
        K = full_image_K(width, height)
        rows = {name: np.stack([estimate[name] for estimate in estimates]) for name in estimates[0]}
        stack = {name: torch.from_numpy(row).to(self.device) for name, row in rows.items()}
        camera = torch.from_numpy(K).to(self.device)
        transl = weak_to_transl(stack["camera"], stack["crop"], camera)
        with torch.inference_mode():
            vertices, joints = self.body(stack["global_orient"], stack["body_pose"], stack["betas"], transl)
            joints = spin49(joints)
            outline, pixels = project(vertices, camera).cpu().numpy(), project(joints, camera).cpu().numpy()
        seeds = [record.seed_for(f"score {i}") for i in range(len(estimates))]
        spec = self.job.stages.estimate.prior
        pose_scores = self.prior.score(rows["body_pose"], seeds, spec.score)
        inside = ((pixels >= 0) & (pixels < (width, height))).all(-1, keepdims=True)
        joints2d = np.concatenate([pixels, inside], -1).astype(np.float32)
        joints3d = np.concatenate([joints.cpu().numpy(), np.ones_like(inside)], -1).astype(np.float32)
        low, high = outline.min(1).clip(0, (width, height)), outline.max(1).clip(0, (width, height))
        return [
            Person(
                **estimate,
                transl=transl[i].cpu().numpy(),
                K=K,
                joints2d=joints2d[i],
                joints3d=joints3d[i],
                bbox=np.concatenate([low[i], high[i]]).astype(np.float32),
                detection_score=scores[i],
                pose_score=float(pose_scores[i]),
            )
            for i, estimate in enumerate(estimates)
        ]


def _union(instances: list, shape: tuple[int, int]) -> np.ndarray:
    return np.logical_or.reduce([np.zeros(shape, bool), *(i.mask for i in instances)])

"""Stage 2: who is in the image, which body fits each of them, how hard their poses are, and what occludes them.

A job may give the poses instead, and may vary them. In later cycles the image is the one that the cycle before has
refined: its people are estimated anew, while given ones stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from factory.errors import UserError
from factory.record import Person, Reason, Record
from factory.stages.augment import vary
from factory.stages.base import Stage

if TYPE_CHECKING:
    from factory.models.detectors.base import Instance
    from factory.sources.poses import Given

Body = dict[str, np.ndarray]  # one person, as answers.HMR gives it


class Estimate(Stage):
    """Fills `people`, `pose_score` and the two masks. Rejects records without a person, and easy ones if asked to."""

    name = "estimate"

    def setup(self) -> None:
        from factory.geometry.body import BodyModel
        from factory.models.detectors.choice import load_detector
        from factory.models.device import pick
        from factory.models.hmr.choice import load_hmr
        from factory.models.priors.choice import load_prior
        from factory.sources import keypoints
        from factory.sources.names import Rows
        from factory.sources.poses import load

        spec, body = self.job.stages.estimate, self.job.body.model
        self.device = pick(spec.device)
        seer, hmr = spec.detector, spec.hmr
        self.detector = load_detector(seer.kind, seer.model, seer.threshold, self.device, seer.config)
        self.hmr = load_hmr(hmr.kind, hmr.model, self.device, hmr.crop_scale, body) if hmr else None
        self.poses = load(self.job.poses) if self.job.poses else None
        self.pose_rows = self.poses.rows() if self.poses else Rows([])
        known = self.job.images.keypoints if self.job.images else None
        self.known = keypoints.load(known) if known else None
        if hmr and self.hmr and self.hmr.finds:
            if self.known:
                raise UserError("images.keypoints: this estimator looks at whole images and crops none; leave them out")
            if hmr.align:
                raise UserError("stages.estimate.hmr.align: this estimator finds people itself; leave it out")
        self.prior = load_prior(spec.prior.kind, spec.prior.model, self.device)
        self.body = BodyModel(body, self.device)

    def process(self, records: list[Record]) -> None:
        from factory.models import answers

        spec = self.job.stages.estimate
        records = [record for record in records if next_cycle(record)]
        images = [record.array("initial") for record in records]
        instances = answers.instances(self.detector, images) if images else []
        people = [[i for i in found if i.label == "person"] for found in instances]
        objects = [[i for i in found if i.label == "object"] for found in instances]
        for record, seen, things in zip(records, people, objects, strict=True):
            shape = record.array("initial").shape[:2]
            record.person_mask, record.object_mask = _union(seen, shape), _union(things, shape)
        if self.poses:
            records = [record for record in records if not record.people]  # theirs stay the same in every cycle
            bodies = [answers.bodies(self._given(record, self.poses), "poses.path") for record in records]
            scores = [[1.0] * len(some) for some in bodies]
        else:
            assert self.hmr is not None  # the job sees to it
            places = [self._places(record, seen) for record, seen in zip(records, people, strict=True)]
            bodies = answers.estimates(self.hmr, images, None if self.hmr.finds else [place for place, _ in places])
            bodies = [some[: spec.max_people] for some in bodies]
            if spec.hmr and spec.hmr.align:
                bodies = [self._align(*each) for each in zip(bodies, people, records, strict=True)]
            scores = [score for _, score in places]
            if self.hmr.finds:
                scores = [[float(body.pop("score", 1.0)) for body in some] for some in bodies]
        for record, estimates, seen_with in zip(records, bodies, scores, strict=True):
            self._label(record, estimates, seen_with)

    def _places(self, record: Record, seen: list[Instance]) -> tuple[np.ndarray, list[float]]:
        """Where the people are in what is shown, px, and how sure that is: boxes (n, 4) of those seen, or keypoints
        (n, 49, 3) of those that the job knows in the real image. Later cycles show what was drawn."""
        most = self.job.stages.estimate.max_people
        if self.known is None or record.cycle:
            return np.array([i.bbox for i in seen[:most]]).reshape(-1, 4), [float(i.score) for i in seen]
        size = self.job.image_size
        people = self.known.of(record.source).copy()
        people[..., :2] = _shown(people, record, size)[..., :2]
        shown = (people[..., 2] > 0) & ((people[..., :2] >= 0) & (people[..., :2] < size)).all(-1)
        people = people[shown.any(1)][:most]
        return people, [1.0] * len(people)

    def _align(self, bodies: list[Body], seen: list[Instance], record: Record) -> list[Body]:
        from factory.geometry.align import align

        masks, others = np.array([instance.mask for instance in seen[: len(bodies)]]), seen[len(bodies) :]
        objects = record.array("object_mask")
        return align(bodies, masks, objects | _union(others, objects.shape), self.body, self.device)

    def _label(self, record: Record, bodies: list[Body], scores: list[float]) -> None:
        """Fill `people`, or reject the record. Whether a pose is easy is asked of the first image and its own pose."""
        spec = self.job.stages.estimate
        if not bodies:
            nobody = Reason.NO_KEYPOINTS if self.known and not record.cycle else Reason.NO_PERSON
            return record.reject(Reason.NO_POSE if self.poses else nobody, self.name)
        hardness = self._score(record, bodies)
        easy = max(hardness) <= spec.prior.tau and not record.cycle
        if spec.augment and not record.cycle and not (spec.augment.keep_first and not record.variant):
            seeds = [record.seed_for(f"augment {i}") for i in range(len(bodies))]
            bodies = vary(bodies, seeds, spec.augment, self.prior)
            hardness = self._score(record, bodies)
        record.people = self._people(record, bodies, scores, hardness)
        record.pose_score = max(hardness)
        record.kept = easy and spec.easy == "keep"
        if easy and spec.easy == "drop":
            record.reject(Reason.EASY, self.name)

    def _given(self, record: Record, poses: Given) -> list[Body]:
        """The poses that the job gives for this record: of its image, or the row it comes from."""
        size = self.job.image_size
        if self.job.images:
            rows = self.pose_rows.of(record.source)[: self.job.stages.estimate.max_people]
        else:
            rows = [int(record.source)]
        whole = np.array([size / 2, size / 2, size], np.float32)
        return [
            {
                "global_orient": poses.pose[row, :3],
                "body_pose": poses.pose[row, 3:],
                "betas": poses.betas[row],
                "camera": poses.camera[row],
                # Without the image that the crop was cut from, the crop is all that is shown.
                "crop": whole if poses.crop is None or not self.job.images else _shown(poses.crop[row], record, size),
            }
            for row in rows
        ]

    def _score(self, record: Record, bodies: list[Body]) -> list[float]:
        from factory.models.answers import numbers

        seeds = [record.seed_for(f"score {i}") for i in range(len(bodies))]
        poses = np.stack([body["body_pose"] for body in bodies])
        scores = self.prior.score(poses, seeds, self.job.stages.estimate.prior.score)
        return numbers(scores, (len(bodies),), "the pose prior's score").tolist()

    def _people(
        self, record: Record, estimates: list[Body], scores: list[float], hardness: list[float]
    ) -> list[Person]:
        """The estimates as rows: in the camera of the whole image, with joints, box and score.

        Joints outside the image have confidence 0 in 2D; all have 1 in 3D.
        """
        import torch

        from factory.geometry.body import spin49
        from factory.geometry.camera import full_image_K, project, weak_to_transl
        from factory.models.answers import BadAnswer

        height, width = record.array("initial").shape[:2]
        K = estimates[0].get("K", full_image_K(width, height))  # all people of an image have one camera
        bodies: list[dict[str, Any]] = [{k: v for k, v in one.items() if k != "K"} for one in estimates]
        rows = {name: np.stack([body[name] for body in bodies]) for name in bodies[0]}
        stack = {name: torch.from_numpy(row).to(self.device) for name, row in rows.items()}
        camera = torch.from_numpy(K).to(self.device)
        transl = weak_to_transl(stack["camera"], stack["crop"], camera)
        with torch.inference_mode():
            vertices, joints = self.body(stack["global_orient"], stack["body_pose"], stack["betas"], transl)
            joints = spin49(joints)
            outline, pixels = project(vertices, camera).cpu().numpy(), project(joints, camera).cpu().numpy()
        if not (np.isfinite(outline).all() and np.isfinite(pixels).all()):  # finite numbers may be too large together
            raise BadAnswer("pose, betas and camera make a body that is not finite (NaN or infinity)")
        inside = ((pixels >= 0) & (pixels < (width, height))).all(-1, keepdims=True)
        joints2d = np.concatenate([pixels, inside], -1).astype(np.float32)
        joints3d = np.concatenate([joints.cpu().numpy(), np.ones_like(inside)], -1).astype(np.float32)
        low, high = outline.min(1).clip(0, (width, height)), outline.max(1).clip(0, (width, height))
        return [
            Person(
                **body,
                transl=transl[i].cpu().numpy(),
                K=K,
                joints2d=joints2d[i],
                joints3d=joints3d[i],
                bbox=np.concatenate([low[i], high[i]]).astype(np.float32),
                detection_score=scores[i],
                pose_score=hardness[i],
            )
            for i, body in enumerate(bodies)
        ]


def next_cycle(record: Record) -> bool:
    """Make the final image of the cycle before the initial one of the next. False: the first image was kept, it is
    final."""
    if record.kept:
        return False
    if record.final is not None:
        record.initial, record.final, record.cycle = record.final, None, record.cycle + 1
    return True


def _shown(places: np.ndarray, record: Record, size: int) -> np.ndarray:
    """(..., 3) x, y and a length, px of the real image -> the same in its window as it is shown, `size` px wide."""
    x, y, side = record.array("window")
    corner = np.array([x - side / 2, y - side / 2, 0], np.float32)
    return ((places - corner) * size / side).astype(np.float32)


def _union(instances: list, shape: tuple[int, int]) -> np.ndarray:
    return np.logical_or.reduce([np.zeros(shape, bool), *(i.mask for i in instances)])

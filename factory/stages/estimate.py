"""Stage 2: the people in the image, the body of each of them, how hard their poses are, and what occludes them.

A job may give the poses instead, and may vary them. In later cycles the image is the one that the cycle before has
refined: its people are estimated anew, while given ones stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from factory.errors import UserError
from factory.record import Person, Reason, Record
from factory.stages.augment import vary
from factory.stages.base import Stage

if TYPE_CHECKING:
    from factory.models.detectors.base import Instance
    from factory.models.hmr.base import BodyEstimate
    from factory.sources.poses import GivenPoses


class Estimate(Stage):
    """Fills `people`, `pose_score` and the two masks. Rejects records without a person, and those with easy poses where
    the job says so."""

    name = "estimate"

    def setup(self) -> None:
        from factory.geometry.body import BodyModel
        from factory.models.detectors.choice import load_detector
        from factory.models.device import pick
        from factory.models.hmr.choice import load_hmr
        from factory.models.priors.choice import load_prior
        from factory.sources import keypoints
        from factory.sources.names import Rows
        from factory.sources.poses import load_poses

        spec, body = self.job.stages.estimate, self.job.body.model
        self.device = pick(spec.device)
        detector, hmr = spec.detector, spec.hmr
        self.detector = load_detector(detector.kind, detector.model, detector.threshold, self.device, detector.config)
        self.hmr = load_hmr(hmr.kind, hmr.model, self.device, hmr.crop_scale, body) if hmr else None
        self.poses = load_poses(self.job.poses) if self.job.poses else None
        self.pose_rows = self.poses.rows() if self.poses else Rows([])
        path = self.job.images.keypoints if self.job.images else None
        self.known = keypoints.load_keypoints(path) if path else None
        if hmr and self.hmr and self.hmr.finds:
            if self.known:
                raise UserError("images.keypoints: this estimator looks at whole images and crops none; leave them out")
            if hmr.align:
                raise UserError("stages.estimate.hmr.align: this estimator finds people itself; leave it out")
        self.prior = load_prior(spec.prior.kind, spec.prior.model, self.device)
        self.body = BodyModel(body, self.device)

    def process(self, records: list[Record]) -> None:
        from factory.models.detectors.base import detect_instances
        from factory.models.hmr.base import estimate_bodies

        spec = self.job.stages.estimate
        records = [record for record in records if next_cycle(record)]
        images = [record.array("initial") for record in records]
        instances = detect_instances(self.detector, images) if images else []
        people = [[one for one in some if one.label == "person"] for some in instances]
        objects = [[one for one in some if one.label == "object"] for some in instances]
        for record, persons, things in zip(records, people, objects, strict=True):
            shape = record.array("initial").shape[:2]
            record.person_mask, record.object_mask = _union(persons, shape), _union(things, shape)
        if self.poses:
            records = [record for record in records if not record.people]  # theirs stay the same in every cycle
            estimates = [self._given(record, self.poses) for record in records]
            scores = [[1.0] * len(bodies) for bodies in estimates]
        else:
            assert self.hmr is not None  # the job sees to it
            places = [self._places(record, persons) for record, persons in zip(records, people, strict=True)]
            boxes = None if self.hmr.finds else [place for place, _ in places]
            estimates = [bodies[: spec.max_people] for bodies in estimate_bodies(self.hmr, images, boxes)]
            if spec.hmr and spec.hmr.align:
                estimates = [self._align(*each) for each in zip(estimates, people, records, strict=True)]
            scores = [score for _, score in places]
            if self.hmr.finds:
                scores = [([1.0] * len(b) if b.score is None else b.score.tolist()) for b in estimates]
        for record, bodies, detection_scores in zip(records, estimates, scores, strict=True):
            self._label(record, bodies, detection_scores)

    def _places(self, record: Record, seen: list[Instance]) -> tuple[np.ndarray, list[float]]:
        """Where the people are in the image that is shown, and how sure that is of each: boxes (n, 4) px of the people
        detected, or keypoints (n, 49, 3) px of those that the job knows in the real image. The image of a later cycle
        was drawn, so that there the detector is asked."""
        most = self.job.stages.estimate.max_people
        if self.known is None or record.cycle:
            return np.array([i.bbox for i in seen[:most]]).reshape(-1, 4), [float(i.score) for i in seen]
        size = self.job.image_size
        people = self.known.of(record.source).copy()
        people[..., :2] = _shown(people, record, size)[..., :2]
        shown = (people[..., 2] > 0) & ((people[..., :2] >= 0) & (people[..., :2] < size)).all(-1)
        people = people[shown.any(1)][:most]
        return people, [1.0] * len(people)

    def _align(self, bodies: BodyEstimate, seen: list[Instance], record: Record) -> BodyEstimate:
        from factory.geometry.align import aligned_cameras

        shape = record.array("initial").shape[:2]
        masks = np.array([instance.mask for instance in seen[: len(bodies)]])
        hidden = record.array("object_mask") | _union(seen[len(bodies) :], shape)
        return replace(bodies, camera=aligned_cameras(bodies, _camera_of(bodies, shape), masks, hidden, self.body))

    def _label(self, record: Record, bodies: BodyEstimate, scores: list[float]) -> None:
        """Fill `people`, or reject the record. Whether it is easy depends on the poses in the first image, before they
        are varied."""
        spec = self.job.stages.estimate
        if not len(bodies):
            nobody = Reason.NO_KEYPOINTS if self.known and not record.cycle else Reason.NO_PERSON
            return record.reject(Reason.NO_POSE if self.poses else nobody, self.name)
        hardness = self._score(record, bodies)
        easy = max(hardness) <= spec.prior.tau and not record.cycle
        if spec.augment and not record.cycle and not (spec.augment.keep_first and not record.variant):
            seeds = [record.seed_for(f"augment {i}") for i in range(len(bodies))]
            bodies = vary(bodies, seeds, spec.augment, self.prior)
            hardness = self._score(record, bodies)
        record.people = self._people(record, bodies, scores, hardness)
        record.measure(pose_score=max(hardness))
        record.kept = easy and spec.easy == "keep"
        if easy and spec.easy == "drop":
            record.reject(Reason.EASY, self.name)

    def _given(self, record: Record, poses: GivenPoses) -> BodyEstimate:
        """The poses that the job gives for this record: those of its image, or of the row that it comes from."""
        size = self.job.image_size
        whole = np.array([size / 2, size / 2, size], np.float32)
        if not self.job.images:  # the crop was cut from another image, if from any
            return poses.bodies([int(record.source)], whole)
        rows = self.pose_rows.of(record.source)[: self.job.stages.estimate.max_people]
        return poses.bodies(rows, whole if poses.crop is None else _shown(poses.crop[rows], record, size))

    def _score(self, record: Record, bodies: BodyEstimate) -> list[float]:
        from factory.models.bad_answer import numbers

        seeds = [record.seed_for(f"score {i}") for i in range(len(bodies))]
        scores = self.prior.score(bodies.body_pose, seeds, self.job.stages.estimate.prior.score)
        return numbers(scores, (len(bodies),), "the pose prior's score").tolist()

    def _people(self, record: Record, bodies: BodyEstimate, scores: list[float], hardness: list[float]) -> list[Person]:
        """The bodies in the camera of the whole image, with joints, box and scores.

        Joints outside the image have confidence 0 in 2D; all have 1 in 3D.
        """
        from factory.geometry.placing import place_bodies
        from factory.models.bad_answer import BadAnswer

        height, width = record.array("initial").shape[:2]
        K = _camera_of(bodies, (height, width))  # all people of an image have one camera
        placed = place_bodies(bodies, K, self.body)
        outline, pixels = placed.vertices2d.cpu().numpy(), placed.joints2d.cpu().numpy()
        if not (np.isfinite(outline).all() and np.isfinite(pixels).all()):  # finite numbers may be too large together
            raise BadAnswer("pose, betas and camera make a body that is not finite (NaN or infinity)")
        inside = ((pixels >= 0) & (pixels < (width, height))).all(-1, keepdims=True)
        transl, joints = placed.transl.cpu().numpy(), placed.joints.cpu().numpy()
        joints2d = np.concatenate([pixels, inside], -1).astype(np.float32)
        joints3d = np.concatenate([joints, np.ones_like(inside)], -1).astype(np.float32)
        low, high = outline.min(1).clip(0, (width, height)), outline.max(1).clip(0, (width, height))
        return [
            Person(
                global_orient=bodies.global_orient[i],
                body_pose=bodies.body_pose[i],
                betas=bodies.betas[i],
                transl=transl[i],
                K=K,
                camera=bodies.camera[i],
                crop=bodies.crop[i],
                joints2d=joints2d[i],
                joints3d=joints3d[i],
                bbox=np.concatenate([low[i], high[i]]).astype(np.float32),
                detection_score=scores[i],
                metrics={"pose_score": hardness[i]},
            )
            for i in range(len(bodies))
        ]


def next_cycle(record: Record) -> bool:
    """Make the final image of the last cycle the initial image of the next, where there was a cycle. Returns False
    where the first image was kept as it is, so that no further cycle changes it."""
    if record.kept:
        return False
    if record.final is not None:
        record.initial, record.final, record.cycle = record.final, None, record.cycle + 1
    return True


def _camera_of(bodies: BodyEstimate, shape: tuple[int, ...]) -> np.ndarray:
    """(3, 3) px: the estimator's own camera of the whole image, or else SPIN's. shape: the image's height and width."""
    from factory.geometry.camera import full_image_K

    return full_image_K(shape[1], shape[0]) if bodies.K is None else bodies.K


def _shown(places: np.ndarray, record: Record, size: int) -> np.ndarray:
    """places (..., 3): x, y and a length, px of the real image -> the same, float32, in px of the image shown, which is
    the record's window of the real image scaled to `size` px."""
    x, y, side = record.array("window")
    corner = np.array([x - side / 2, y - side / 2, 0], np.float32)
    return ((places - corner) * size / side).astype(np.float32)


def _union(instances: list[Instance], shape: tuple[int, ...]) -> np.ndarray:
    return np.logical_or.reduce([np.zeros(shape, bool), *(one.mask for one in instances)])

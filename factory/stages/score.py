"""Stage 5: how well label and images agree, as detector and estimator see it when they look once more."""

from __future__ import annotations

import numpy as np

from factory.record import Person, Record
from factory.stages.base import Stage


class Score(Stage):
    """Fills `silhouette_iou` and `oks`, of the final and the initial image, and `reestimate_pa_mpjpe`. Rejects nothing.

    The estimator is told where the label is (its box), in both images alike: so the two figures differ by the image
    alone, and the initial one tells how much the estimator can find again at all.
    """

    name = "score"

    def setup(self) -> None:
        from factory.models.body import BodyModel
        from factory.models.detector import load_detector
        from factory.models.device import pick
        from factory.models.hmr import HMR
        from factory.starter.pack import resolve

        spec = self.job.stages.estimate
        self.device = pick(self.job.stages.score.device)
        self.detector = load_detector(spec.detector.kind, spec.detector.model, spec.detector.threshold, self.device)
        self.hmr = HMR(resolve(spec.hmr.model), self.device, spec.hmr.crop_scale) if spec.hmr else None
        self.body = BodyModel(resolve(self.job.body.model), self.device)

    def process(self, records: list[Record]) -> None:
        redrawn = [record for record in records if record.refined]  # the others' final image is the initial one
        initial = self._compare([record.array("initial") for record in records], records)
        final = iter(self._compare([record.array("final") for record in redrawn], redrawn))
        masks = iter(self._people_in([record.array("final") for record in redrawn]))
        for record, (similarity, error) in zip(records, initial, strict=True):
            record.oks = record.oks_initial = similarity
            record.reestimate_pa_mpjpe = error
            record.silhouette_iou = record.silhouette_iou_initial = _overlap(record, record.person_mask)
            if record.refined:
                record.oks, record.reestimate_pa_mpjpe = next(final)
                record.silhouette_iou = _overlap(record, next(masks))

    def _people_in(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """(H, W) bool of each image: all people that the detector sees."""
        nobody = [np.zeros(image.shape[:2], bool) for image in images]
        found = self.detector.detect(images) if images else []
        masks = [[instance.mask for instance in some if instance.label == "person"] for some in found]
        return [np.logical_or.reduce([none, *some]) for none, some in zip(nobody, masks, strict=True)]

    def _compare(self, images: list[np.ndarray], records: list[Record]) -> list[tuple[float | None, float | None]]:
        """(OKS, PA-MPJPE mm) of each record's label against an estimate from its image, mean over the people. None
        where the job has no estimator."""
        from factory.models.agreement import oks, pa_mpjpe

        people = [person for record in records for person in record.people]
        if self.hmr is None or not people:
            return [(None, None)] * len(records)
        boxes = [np.stack([person.bbox for person in record.people]) for record in records]
        estimates = [one for some in self.hmr.estimate(images, boxes) for one in some]
        joints, pixels = self._joints(estimates, people)
        labels2d, labels3d, bbox = (np.stack([getattr(p, n) for p in people]) for n in ("joints2d", "joints3d", "bbox"))
        similarity, error = oks(pixels, labels2d, bbox), pa_mpjpe(joints, labels3d)
        owner = np.repeat(np.arange(len(records)), [len(record.people) for record in records])
        return [(_mean(similarity[owner == i], 4), _mean(error[owner == i], 2)) for i in range(len(records))]

    def _joints(self, estimates: list[dict[str, np.ndarray]], people: list[Person]) -> tuple[np.ndarray, np.ndarray]:
        """Estimates in the camera of the label -> joints (N, 49, 3) m and (N, 49, 2) px."""
        import torch

        from factory.models.body import spin49
        from factory.models.camera import project, weak_to_transl

        stack = {n: torch.from_numpy(np.stack([e[n] for e in estimates])).to(self.device) for n in estimates[0]}
        K = torch.from_numpy(np.stack([person.K for person in people])).to(self.device)
        transl = weak_to_transl(stack["camera"], stack["crop"], K)
        with torch.inference_mode():
            joints = spin49(self.body(stack["global_orient"], stack["body_pose"], stack["betas"], transl)[1])
            return joints.cpu().numpy(), project(joints, K).cpu().numpy()


def _overlap(record: Record, people: np.ndarray | None) -> float | None:
    """IoU of the body that no object hides with a person mask."""
    from factory.models.agreement import iou

    return None if people is None else round(iou(record.array("depth") > 0, people), 4)


def _mean(values: np.ndarray, digits: int) -> float | None:
    """Over the people that have a figure; None where none has. Rounded: what differs beyond is noise."""
    known = values[np.isfinite(values)]
    return round(float(known.mean()), digits) if len(known) else None

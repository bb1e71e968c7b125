"""Stage 5: how well label and images agree, as detector and estimator see it when they look once more."""

from __future__ import annotations

import numpy as np

from factory.record import Person, Record
from factory.stages.base import Stage


class Score(Stage):
    """Fills `silhouette_iou` and `oks`, of the final and the initial image, and `reestimate_pa_mpjpe`; of each person
    what needs no mask. Rejects nothing.

    The estimator gets the label's box in both images. So the two figures differ by the image alone, and the initial
    one shows how much of a label the estimator can find again at all.
    """

    name = "score"

    def setup(self) -> None:
        from factory.geometry.body import BodyModel
        from factory.models.detectors.choice import load_detector
        from factory.models.device import pick
        from factory.models.hmr.choice import load_hmr

        spec, body = self.job.stages.estimate, self.job.body.model
        self.device = pick(self.job.stages.score.device)
        seer, hmr = spec.detector, spec.hmr
        self.detector = load_detector(seer.kind, seer.model, seer.threshold, self.device, seer.config)
        self.hmr = load_hmr(hmr.kind, hmr.model, self.device, hmr.crop_scale, body) if hmr else None
        self.body = BodyModel(body, self.device)

    def process(self, records: list[Record]) -> None:
        redrawn = [record for record in records if record.refined]  # the others' final image is the initial one
        initial = self._compare([record.array("initial") for record in records], records)
        final = iter(self._compare([record.array("final") for record in redrawn], redrawn))
        masks = iter(self._people_in([record.array("final") for record in redrawn]))
        for record, before in zip(records, initial, strict=True):
            (oks, error), oks_initial = next(final) if record.refined else before, before[0]
            for i, person in enumerate(record.people):
                person.oks, person.oks_initial = round(float(oks[i]), 4), round(float(oks_initial[i]), 4)
                person.reestimate_pa_mpjpe = round(float(error[i]), 2)
            record.oks, record.reestimate_pa_mpjpe = _mean(oks, 4), _mean(error, 2)
            record.oks_initial = _mean(oks_initial, 4)
            record.silhouette_iou = record.silhouette_iou_initial = _overlap(record, record.person_mask)
            if record.refined:
                record.silhouette_iou = _overlap(record, next(masks))

    def _people_in(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """(H, W) bool of each image: all people that the detector sees."""
        from factory.models import answers

        nobody = [np.zeros(image.shape[:2], bool) for image in images]
        found = answers.instances(self.detector, images) if images else []
        masks = [[instance.mask for instance in some if instance.label == "person"] for some in found]
        return [np.logical_or.reduce([none, *some]) for none, some in zip(nobody, masks, strict=True)]

    def _compare(self, images: list[np.ndarray], records: list[Record]) -> list[np.ndarray]:
        """(2, P) for each record: OKS and PA-MPJPE, mm, of its people's labels against estimates from its image. NaN
        where the job has no estimator, or it finds nobody."""
        from factory.geometry.agreement import oks, pa_mpjpe

        boxes = [np.stack([person.bbox for person in record.people]) for record in records]
        estimates = self._estimate(images, boxes)
        found = np.repeat([len(some) > 0 for some in estimates], [len(some) for some in boxes])
        everybody = [person for record in records for person in record.people]
        people = [person for person, here in zip(everybody, found, strict=True) if here]
        figures = np.full((2, len(everybody)), np.nan)
        if people:
            joints, pixels = self._joints([one for some in estimates for one in some], people)
            labels2d, labels3d, bbox = (
                np.stack([getattr(p, n) for p in people]) for n in ("joints2d", "joints3d", "bbox")
            )
            figures[:, found] = oks(pixels, labels2d, bbox), pa_mpjpe(joints, labels3d)
        return np.split(figures, np.cumsum([len(some) for some in boxes])[:-1], axis=1)

    def _estimate(self, images: list[np.ndarray], boxes: list[np.ndarray]) -> list[list[dict[str, np.ndarray]]]:
        """One estimate per box, or none for an image in which an estimator of whole images finds nobody."""
        from factory.models import answers

        if self.hmr is None or not images:
            return [[] for _ in images]
        try:
            return answers.estimates(self.hmr, images, boxes)
        except ValueError:
            if len(images) == 1:
                return [[]]
            return [self._estimate([image], [some])[0] for image, some in zip(images, boxes, strict=True)]

    def _joints(self, estimates: list[dict[str, np.ndarray]], people: list[Person]) -> tuple[np.ndarray, np.ndarray]:
        """Estimates, in their own camera or else the label's -> joints (N, 49, 3) m and (N, 49, 2) px."""
        import torch

        from factory.geometry.body import spin49
        from factory.geometry.camera import project, weak_to_transl

        def stack(name: str) -> torch.Tensor:
            return torch.from_numpy(np.stack([one[name] for one in estimates])).to(self.device)

        cameras = [one.get("K", person.K) for one, person in zip(estimates, people, strict=True)]
        K = torch.from_numpy(np.stack(cameras)).to(self.device)
        transl = weak_to_transl(stack("camera"), stack("crop"), K)
        with torch.inference_mode():
            joints = spin49(self.body(stack("global_orient"), stack("body_pose"), stack("betas"), transl)[1])
            return joints.cpu().numpy(), project(joints, K).cpu().numpy()


def _overlap(record: Record, people: np.ndarray | None) -> float | None:
    """IoU of the body that no object hides with a person mask."""
    from factory.geometry.agreement import iou

    return None if people is None else round(iou(record.array("depth") > 0, people), 4)


def _mean(values: np.ndarray, digits: int) -> float | None:
    """Over the people that have a figure; None where none has. Rounded: what differs beyond is noise."""
    known = values[np.isfinite(values)]
    return round(float(known.mean()), digits) if len(known) else None

"""Stage 5: how well the label agrees with the initial and the final image, by detector and estimator run once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factory.record import Record
from factory.stages.base import Stage

if TYPE_CHECKING:
    from factory.models.hmr.base import BodyEstimate


class Score(Stage):
    """Fills `silhouette_iou` and `oks`, of the final and the initial image, and `reestimate_pa_mpjpe`. The figures that
    need no mask are also filled for each person. No record is rejected.

    The estimator gets the label's box in both images. So the two figures differ by the image alone, and the one of the
    initial image shows how much of a label the estimator can find again at all.
    """

    name = "score"

    def setup(self) -> None:
        from factory.geometry.body import BodyModel
        from factory.models.detectors.choice import load_detector
        from factory.models.device import pick
        from factory.models.hmr.choice import load_hmr

        spec, body = self.job.stages.estimate, self.job.body.model
        self.device = pick(self.job.stages.score.device)
        detector, hmr = spec.detector, spec.hmr
        self.detector = load_detector(detector.kind, detector.model, detector.threshold, self.device, detector.config)
        self.hmr = load_hmr(hmr.kind, hmr.model, self.device, hmr.crop_scale, body) if hmr else None
        self.body = BodyModel(body, self.device)

    def process(self, records: list[Record]) -> None:
        redrawn = [record for record in records if record.refined]  # of the others the final image is the initial one
        initial = self._compare([record.array("initial") for record in records], records)
        final = iter(self._compare([record.array("final") for record in redrawn], redrawn))
        masks = iter(self._people_in([record.array("final") for record in redrawn]))
        for record, before in zip(records, initial, strict=True):
            (oks, error), oks_initial = next(final) if record.refined else before, before[0]
            for i, person in enumerate(record.people):
                person.measure(
                    oks=round(float(oks[i]), 4),
                    oks_initial=round(float(oks_initial[i]), 4),
                    reestimate_pa_mpjpe=round(float(error[i]), 2),
                )
            overlap_initial = _overlap(record, record.person_mask)
            record.measure(
                oks=_mean(oks, 4),
                oks_initial=_mean(oks_initial, 4),
                reestimate_pa_mpjpe=_mean(error, 2),
                silhouette_iou=_overlap(record, next(masks)) if record.refined else overlap_initial,
                silhouette_iou_initial=overlap_initial,
            )

    def _people_in(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """(H, W) bool for each image: the pixels of all people that are detected."""
        from factory.models.detectors.base import detect_instances

        instances = detect_instances(self.detector, images) if images else []
        return [
            np.logical_or.reduce([np.zeros(image.shape[:2], bool), *(i.mask for i in some if i.label == "person")])
            for image, some in zip(images, instances, strict=True)
        ]

    def _compare(self, images: list[np.ndarray], records: list[Record]) -> list[np.ndarray]:
        """(2, P) for each record: OKS and PA-MPJPE, mm, of the labels of its people against estimates from its image.
        NaN where the job has no estimator, or where the estimator finds nobody."""
        from factory.geometry.agreement import oks, pa_mpjpe
        from factory.geometry.placing import place_bodies
        from factory.models.hmr.base import BodyEstimate

        boxes = [np.stack([person.bbox for person in record.people]) for record in records]
        counts = [len(some) for some in boxes]
        estimates = self._estimate(images, boxes)
        figures = np.full((2, sum(counts)), np.nan)
        seen = [(bodies, record) for bodies, record in zip(estimates, records, strict=True) if bodies is not None]
        if seen:
            people = [person for _, record in seen for person in record.people]
            # An estimator without a camera of its own is looked through the label's.
            K = [person.K if bodies.K is None else bodies.K for bodies, record in seen for person in record.people]
            placed = place_bodies(BodyEstimate.joined([bodies for bodies, _ in seen]), np.stack(K), self.body)
            joints, pixels = placed.joints.cpu().numpy(), placed.joints2d.cpu().numpy()
            labels2d, labels3d, bbox = (
                np.stack([getattr(person, name) for person in people]) for name in ("joints2d", "joints3d", "bbox")
            )
            known = np.repeat([bodies is not None for bodies in estimates], counts)
            figures[:, known] = oks(pixels, labels2d, bbox), pa_mpjpe(joints, labels3d)
        return np.split(figures, np.cumsum(counts)[:-1], axis=1)

    def _estimate(self, images: list[np.ndarray], boxes: list[np.ndarray]) -> list[BodyEstimate | None]:
        """A body for each box, or None for an image in which an estimator of whole images finds nobody."""
        from factory.models.hmr.base import estimate_bodies

        if self.hmr is None or not images:
            return [None] * len(images)
        try:
            return [*estimate_bodies(self.hmr, images, boxes)]
        except ValueError:
            if len(images) == 1:
                return [None]
            return [self._estimate([image], [some])[0] for image, some in zip(images, boxes, strict=True)]


def _overlap(record: Record, people: np.ndarray | None) -> float | None:
    """IoU of the person mask `people` with the rendered bodies, where no object hides them; None without a mask."""
    from factory.geometry.agreement import iou

    return None if people is None else round(iou(record.array("depth") > 0, people), 4)


def _mean(values: np.ndarray, digits: int) -> float | None:
    """The mean over the people that have a figure; None where none has. Rounded, because further digits are noise."""
    known = values[np.isfinite(values)]
    return round(float(known.mean()), digits) if len(known) else None

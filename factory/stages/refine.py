"""Stage 4: the image is redrawn under the rendered depth, so that it shows the body that is its label."""

from __future__ import annotations

import numpy as np

from factory.errors import UserError
from factory.record import Record
from factory.stages.base import Stage


class Refine(Stage):
    """Fills `final` and `refined`. The record stays active: it is ok once its sample is written."""

    name = "refine"

    def setup(self) -> None:
        from factory.models.device import pick
        from factory.models.diffusion import DepthToImage

        spec = self.job.stages.refine
        if int(spec.steps * spec.strength) < 1:
            raise UserError(f"stages.refine: strength {spec.strength} of {spec.steps} steps is no step; raise either")
        self.model = DepthToImage(spec.model, spec.dtype, pick(spec.device), spec.revision)

    def process(self, records: list[Record]) -> None:
        keep = [record for record in records if self._keeps(record)]
        redraw = [record for record in records if not self._keeps(record)]
        images = list(self._redraw(redraw)) if redraw else []
        for record in keep:
            record.final, record.refined = record.initial, False
        for record, image in zip(redraw, images, strict=True):
            record.final, record.refined = image, True

    def _keeps(self, record: Record) -> bool:
        """Easy poses came out right the first time: a job may keep their image as it is."""
        estimate = self.job.stages.estimate
        return estimate.easy == "keep" and record.pose_score <= estimate.prior.tau

    def _redraw(self, records: list[Record]) -> np.ndarray:
        spec = self.job.stages.refine
        return self.model.refine(
            np.stack([record.array("initial") for record in records]),
            np.stack([record.array("depth") for record in records]),
            [record.prompt for record in records],
            [record.seed_for(self.name) for record in records],
            spec.steps,
            spec.strength,
            spec.guidance_scale,
            spec.negative_prompt,
            np.stack([human_region(record) for record in records]) if spec.random_latents else None,
        )


def human_region(record: Record) -> np.ndarray:
    """(H, W) bool: where the person was or shall be, except behind objects."""
    return (record.array("person_mask") | record.array("silhouette")) & ~record.array("object_mask")

"""Stage 4: the image is redrawn under the rendered depth, so that it shows the body that is its label."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from factory.errors import UserError
from factory.record import Record
from factory.stages.base import Stage


class Refine(Stage):
    """Fills `final` and `refined`. The records stay active: the store marks each ok once its sample is written."""

    name = "refine"

    def setup(self) -> None:
        from factory.models.device import pick
        from factory.models.diffusion.controlnet import ControlNetToImage
        from factory.models.diffusion.depth_to_image import DepthToImage

        spec = self.job.stages.refine
        if int(spec.steps * spec.strength) < 1:
            raise UserError(f"stages.refine: strength {spec.strength} of {spec.steps} steps is no step; raise either")
        common = spec.dtype, pick(spec.device), spec.revision
        self.model: ControlNetToImage | DepthToImage
        if spec.controlnet:
            weight = spec.controlnet_scale
            self.model = ControlNetToImage(spec.model, spec.controlnet, *common, weight, **spec.loading())
        else:
            self.model = DepthToImage(spec.model, *common, **spec.loading())
        self.model.guidance.check(spec.guidance_scale, spec.negative_prompt, "stages.refine")

    def process(self, records: list[Record]) -> None:
        kept = [record for record in records if record.kept]
        redrawn = [record for record in records if not record.kept]
        images = list(self._redraw(redrawn)) if redrawn else []
        if self.job.images:  # otherwise stage 1 has already cut the prompts to what its text encoder reads
            for record in redrawn:
                record.prompt = self.model.reader.cut(record.prompt)
        for record in kept:
            record.final, record.refined = record.initial, False
        for record, image in zip(redrawn, images, strict=True):
            record.final, record.refined = image, True
        for record in records:
            if self.job.stages.refine.blur and (record.kept or record.cycle == self.job.cycles - 1):
                record.final = blurred(record, self.job.stages.refine.blur)

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


def blurred(record: Record, radii: tuple[float, float]) -> np.ndarray:
    """The final image (H, W, 3) uint8, blurred by a Gaussian as by a camera out of focus. radii: px; the record's seed
    draws the radius from this range."""
    radius = np.random.default_rng(record.seed_for("blur")).uniform(*radii)
    image = Image.fromarray(record.array("final"))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(float(radius))))


def human_region(record: Record) -> np.ndarray:
    """(H, W) bool: the pixels of the person in the initial image and of the rendered body, minus those of objects."""
    return (record.array("person_mask") | record.array("silhouette")) & ~record.array("object_mask")

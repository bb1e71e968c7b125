"""Stage 1: a prompt and a seed become an image."""

from __future__ import annotations

from factory.record import Record
from factory.stages.base import Stage


class Generate(Stage):
    """Fills `initial`."""

    name = "generate"

    def setup(self) -> None:
        from factory.models.device import pick
        from factory.models.diffusion import TextToImage

        spec = self.job.stages.generate
        self.model = TextToImage(spec.model, spec.dtype, pick(spec.device), spec.revision)

    def process(self, records: list[Record]) -> None:
        spec = self.job.stages.generate
        images = self.model.generate(
            [record.prompt for record in records],
            [record.seed for record in records],
            self.job.image_size,
            spec.steps,
            spec.guidance_scale,
            spec.negative_prompt,
        )
        for record, image in zip(records, images, strict=True):
            record.initial = image

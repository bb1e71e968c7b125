"""Stage 1: an image is drawn from a prompt and a seed, or a real image takes its place."""

from __future__ import annotations

from factory.job import ImagesSpec
from factory.record import Reason, Record
from factory.stages.base import Stage
from factory.untrusted import Unreadable


class Generate(Stage):
    """Fills `initial`, and for a real image `window`. Rejects real images that cannot be used."""

    name = "generate"

    def setup(self) -> None:
        if self.job.images:
            return
        from factory.models.device import pick
        from factory.models.diffusion.text_to_image import TextToImage

        spec = self.job.stages.generate
        assert spec.model is not None  # the job sees to it
        self.model = TextToImage(spec.model, spec.dtype, pick(spec.device), spec.revision, **spec.loading())
        self.model.guidance.check(spec.guidance_scale, spec.negative_prompt, "stages.generate")

    def process(self, records: list[Record]) -> None:
        if self.job.images:
            for record in records:
                self._read(record, self.job.images)
            return
        spec = self.job.stages.generate
        seeds = [record.seed if record.image_seed is None else record.image_seed for record in records]
        # Variants of one image share its seed and are drawn once. In other jobs even records of one seed are all drawn:
        # the size of a batch changes the last bits of its images.
        places = seeds if self.job.stages.estimate.augment else range(len(records))
        wanted = {place: (seed, record.prompt) for place, seed, record in zip(places, seeds, records, strict=True)}
        images = self.model.generate(
            [prompt for _, prompt in wanted.values()],
            [seed for seed, _ in wanted.values()],
            self.job.image_size,
            spec.steps,
            spec.guidance_scale,
            spec.negative_prompt,
        )
        drawn = dict(zip(wanted, images, strict=True))
        for record, place in zip(records, places, strict=True):
            record.initial = drawn[place]
            record.prompt = self.model.reader.cut(record.prompt)  # sample and index shall hold the text that was read

    def _read(self, record: Record, spec: ImagesSpec) -> None:
        from factory.sources.images import read_image
        from factory.sources.picture import Refused, square

        try:
            data = read_image(spec, record.source)
            record.initial, record.window = square(
                data, self.job.image_size, record.window, spec.min_side, spec.max_pixels
            )
        except (OSError, KeyError):
            record.reject(Reason.NO_IMAGE, self.name)
        except Unreadable:
            record.reject(Reason.HUGE_IMAGE, self.name)
        except Refused as refused:
            record.reject(refused.reason, self.name)

"""The cells of a table: an estimator that is fine-tuned and measured, and a data set whose images are measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factory.finetune.options import FinetuneOptions


@dataclass(frozen=True)
class CellTraining:
    """One fine-tuning and its test. test: the labelled people that the result is measured on. The other fields are
    those of `finetune.options.FinetuneOptions`."""

    model: str
    body: str
    prior: str
    real: str
    test: str
    method: str
    synthetic: tuple[str, ...]
    where: str | None
    share: float
    seed: int
    steps: int
    batch: int
    rate: float
    mix: float
    every: int
    workers: int

    def asked(self) -> dict[str, Any]:
        """What the result follows from."""
        values = asdict(self)
        del values["every"], values["workers"]  # they do not change what is learnt
        if self.method == "none":
            return {name: values[name] for name in ("model", "body", "test", "method")}
        return values


def train_cell(training: CellTraining, folder: Path) -> dict[str, Any]:
    """Fine-tune in `folder`, or go on where that stopped, and measure the last weights on the test images."""
    found: dict[str, Any] = {}
    model: str | Path = training.model
    if training.method != "none":
        from factory.finetune.hmr import finetune_hmr
        from factory.training.checkpoint import Checkpoint

        options = cell_options(training, folder)
        result = finetune_hmr(options)
        model = result.model
        found["training"] = {"steps": result.steps, "curve": result.curve}
        found |= measure_estimator(model, training.body, training.test)
        Checkpoint(folder).path.unlink(missing_ok=True)  # many times as large as all else, and never read again
        return found
    return measure_estimator(model, training.body, training.test)


def cell_options(training: CellTraining, folder: Path) -> FinetuneOptions:
    """The options of `factory finetune hmr` for a cell."""
    from factory.finetune.options import FinetuneOptions

    values = asdict(training)
    del values["test"]
    return FinetuneOptions(**{**values, "synthetic": list(training.synthetic)}, out=folder)


def measure_estimator(model: str | Path, body: str, test: str) -> dict[str, Any]:
    """The figures of an estimator on labelled people, as result.json holds them."""
    from factory.evaluate.bodies import MeasuredBody
    from factory.evaluate.hmr import evaluate_estimator
    from factory.labelled.choice import open_people
    from factory.models.device import pick
    from factory.models.hmr.choice import load_hmr

    device = pick("auto")
    estimator = load_hmr("spin", str(model), device, crop_scale=1.0, body=body)
    found = evaluate_estimator(estimator, MeasuredBody(body, device), open_people(test, split="test"))
    figures = {group: {name: asdict(figure) for name, figure in some.items()} for group, some in found.figures.items()}
    return {"figures": figures, "count": found.count, "methods": found.methods, "notes": found.notes}


@dataclass(frozen=True)
class ImagesCell:
    """One data set that is compared with real images. The fields are those of `factory evaluate images`."""

    data: str
    real: str
    features: tuple[str, ...]
    humans: bool
    detector: str | None
    crop: str
    limit: int | None

    def asked(self) -> dict[str, Any]:
        """What the result follows from."""
        return asdict(self)


def measure_images(cell: ImagesCell, _: Path) -> dict[str, Any]:
    """The distances of a data set's initial and final images from real ones, as result.json holds them."""
    from factory.evaluate.extractors import load_extractor
    from factory.evaluate.humans import people_cutter
    from factory.evaluate.image_sets import Samples, real_images
    from factory.evaluate.images import compare
    from factory.evaluate.progress import ImagesProgress
    from factory.models.device import pick
    from factory.present.terminal import open_console

    device = pick("auto")
    samples, real = Samples(cell.data, cell.limit), real_images(cell.real, cell.limit)
    extractors = [load_extractor(words, device) for words in dict.fromkeys(cell.features)]
    methods = [extractor.about for extractor in extractors]
    cut = None
    if cell.humans:
        cut, how = people_cutter(cell.detector, samples.detector, cell.crop, device)
        methods.append(how)
    with ImagesProgress(open_console(stderr=True)) as progress:
        comparison = compare([samples], real, extractors, cut, None, device, progress)
    figures: dict[str, dict[str, Any]] = {}
    for row in comparison.rows:
        group = figures.setdefault(row.images, {})
        for name, figure in row.figures.items():
            group[name] = {"value": figure.value, "spread": figure.spread, "count": row.count}
    return {"figures": figures, "methods": methods, "notes": comparison.notes + comparison.warnings}

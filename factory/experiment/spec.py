"""The experiment file: a complete, typed description of one table of the paper, with our rows.

Every field is documented here and nowhere else; `factory schema experiment` exports the same texts as JSON Schema.

Some texts may name what the experiment itself makes: `{domain}` stands for the folder of the domain, `{model}` for the
estimator that trainings start from, `{adapter:NAME}` for the fine-tuned weights of an entry of `adapters`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from factory.job_stages import Model, Spec

NAME = r"^[a-z0-9][a-z0-9+_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]
Share = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
PLACEHOLDER = re.compile(r"\{(domain|model|adapter:[a-z0-9+_-]+)\}")
WITH_DATA = ("controlnet", "ours")


def _inside(path: str) -> str:
    if path.startswith(("/", "~", "$")) or ".." in path.split("/")[1:] or "://" in path or "\0" in path:
        raise PydanticCustomError("job", f"{path!r} is no path of a file near the experiment file")
    return path


class DomainSpec(Spec):
    """A target domain of the starter world, rendered for the experiment (`factory starter domain`)."""

    name: Literal["smart-like", "ski-like"]
    train: int | None = Field(None, ge=1, le=1_000_000, description="Images of each action for training.")
    test: int | None = Field(None, ge=1, le=1_000_000, description="Held-out images, of all actions together.")
    seed: Seed = 0


class AdapterSpec(Spec):
    """Weights of a diffusion model, fine-tuned on the domain (guidance D, `factory finetune diffusion`)."""

    model: Model = Field(description="The text-to-image or depth-to-image model.")
    images: str = Field(min_length=1, description="The domain's images, as --images of the command takes them.")
    epochs: float = Field(10, gt=0, le=10_000, description="Passes over the images; the paper: 10.")
    steps: int | None = Field(None, ge=1, le=10**9, description="Steps, in place of epochs.")
    rank: int = Field(8, ge=1, le=1024)
    layers: Literal["attention", "blocks", "all"] = "attention"
    preserve: int = Field(0, ge=0, le=10**6, description="Images of generic prompts that are learnt beside, see there.")


class DataSpec(Spec):
    """A data set that the experiment makes, as `factory run` makes it."""

    job: Annotated[str, AfterValidator(_inside)] = Field(
        min_length=1, description="The job file, relative to the experiment file."
    )
    set: list[str] = Field(
        [], description="Fields of the job to override, such as images.path={domain}. The output is set by itself."
    )


class MethodSpec(Spec):
    """A row of a table of estimators: how the estimator is fine-tuned."""

    method: Literal["none", "2d", "spin-ft", "dapa", "controlnet", "self", "ours"] = Field(
        description="The method of `factory finetune hmr`; none: the start is measured as it is."
    )
    label: str = Field("", max_length=80, description="What the row is called. Left out: its key.")
    data: list[str] = Field(
        [], description="Methods ours and controlnet: entries of `data`, or any data that --synthetic takes."
    )
    where: str | None = Field(None, min_length=1, description="Use samples that fit, such as 'oks > 0.7'.")
    mix: float | None = Field(None, gt=0, lt=1, description="Share of synthetic images in a batch, for this row.")
    steps: int | None = Field(None, ge=1, le=10**9, description="Steps of this row, in place of the experiment's.")
    paper: str | None = Field(None, description="The row of the paper's table that stands beside it.")
    missing: str | None = Field(None, max_length=200, description="Why this row cannot be computed; it is then not.")

    @model_validator(mode="after")
    def _fits(self) -> MethodSpec:
        if bool(self.data) != (self.method in WITH_DATA) and not self.missing:
            what = "names no data" if self.method in WITH_DATA else "takes no data"
            raise PydanticCustomError("job", f"method {self.method} {what}; {' and '.join(WITH_DATA)} take some")
        return self


class EstimatorsSpec(Spec):
    """A table of estimators (the paper's Tables 1 and 2)."""

    model: Model = Field(description="The estimator that trainings start from: SPIN's checkpoint, or starter:base.")
    body: Model = Field("starter:body", description="The body model.")
    prior: Model = Field("starter:vposer", description="VPoser, for the methods spin-ft and dapa.")
    real: str = Field(min_length=1, description="The few real images with 2D keypoints, such as smart:{domain}.")
    test: str = Field(min_length=1, description="What the fine-tuned estimators are measured on.")
    methods: dict[Name, MethodSpec] = Field(min_length=1, description="The rows, in order.")
    shares: list[Share] = Field([1.0], min_length=1, description="Shares of the real images to train with.")


class RowSpec(Spec):
    """A row of a table of images: the images of a data set."""

    data: str = Field(min_length=1, description="An entry of `data`, or any data set of the factory.")
    images: Literal["initial", "final"] = Field("final", description="initial: before the bodies were rendered in.")
    label: str = Field("", max_length=80, description="What the row is called. Left out: its key.")
    paper: str | None = Field(None, description="The row of the paper's table that stands beside it.")
    missing: str | None = Field(None, max_length=200, description="Why this row cannot be computed; it is then not.")


class ImagesTableSpec(Spec):
    """A table of image quality (the paper's Tables 3 and 4)."""

    real: str = Field(min_length=1, description="The real images that rows are compared with, as --real takes them.")
    rows: dict[Name, RowSpec] = Field(min_length=1, description="The rows, in order.")
    features: list[str] = Field(
        ["starter"], min_length=1, description="What images are compared by: KIND[=MODEL], as --features takes it."
    )
    humans: bool = Field(True, description="Whether people are compared alone too: H-FID, H-KID.")
    detector: str | None = Field(None, min_length=1, description="KIND=MODEL of the detector that cuts people out.")
    crop: Literal["frame", "person"] = "frame"
    limit: int | None = Field(None, ge=2, description="At most so many images of each set.")
    study: str | None = Field(None, min_length=1, description="Folder of a user study with its answers (study-sum).")


class ExperimentSpec(Spec):
    """The description of one table."""

    name: Name
    title: str = Field("", max_length=120, description="Heading of the page.")
    about: str = Field("", max_length=2000, description="What is compared, in a few sentences.")
    output: str = Field(min_length=1, description="Folder of the cells, the data sets and the page.")
    table: Literal[1, 2, 3, 4] = Field(description="The table of the paper that ours stands beside.")
    part: str | None = Field(None, description="The part of that table: mpii or smart, for Tables 3 and 4.")
    domain: DomainSpec | None = Field(None, description="A domain of the starter world. Left out: data of your own.")
    adapters: dict[Name, AdapterSpec] = Field({}, description="Diffusion models to fine-tune on the domain.")
    data: dict[Name, DataSpec] = Field({}, description="Data sets to make.")
    estimators: EstimatorsSpec | None = None
    images: ImagesTableSpec | None = None
    seeds: list[Seed] = Field([0], min_length=1, description="Seeds of the trainings: each row once for each.")
    steps: int = Field(600, ge=1, le=10**9, description="Steps of each training.")
    batch: int = Field(32, ge=2, le=100_000, description="Images of a step.")
    rate: float = Field(1e-4, gt=0, le=1, description="Learning rate of Adam.")
    mix: float = Field(0.5, gt=0, lt=1, description="Share of synthetic images in a batch.")
    every: int = Field(100, ge=1, le=10**9, description="Steps between two checkpoints.")
    workers: int = Field(1, ge=1, le=1000, description="Processes of a training, on Ray: one for each GPU.")

    @model_validator(mode="after")
    def _fits(self) -> ExperimentSpec:
        table = self.estimators or self.images
        if table is None or (self.estimators and self.images):
            raise _fault("give estimators (Tables 1 and 2) or images (Tables 3 and 4), one of them")
        if (self.table in (1, 2)) != (self.estimators is not None):
            raise _fault(f"table {self.table} is one of {'estimators' if self.table in (1, 2) else 'images'}")
        if self.images is not None and self.part not in ("mpii", "smart"):
            raise _fault(f"part: table {self.table} has the parts mpii and smart; name one")
        for field, values in (("seeds", self.seeds), ("estimators.shares", self._shares)):
            if len(set(values)) < len(values):
                raise _fault(f"{field}: one is given twice; keep one")
        for text in texts(self.model_dump()):
            for match in PLACEHOLDER.finditer(text):
                self._require(match[1])
        return self

    @property
    def _shares(self) -> list[float]:
        return self.estimators.shares if self.estimators else []

    def _require(self, what: str) -> None:
        if what == "domain" and self.domain is None:
            raise _fault("{domain} is named, and domain is missing")
        if what == "model" and self.estimators is None:
            raise _fault("{model} is named, and estimators is missing")
        if what.startswith("adapter:") and what.removeprefix("adapter:") not in self.adapters:
            there = ", ".join(self.adapters) or "none"
            raise _fault(f"{{{what}}} is named, and adapters has {there}")


def texts(value: Any) -> list[str]:
    """All texts in plain values, however deep."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    return [text for each in value for text in texts(each)] if isinstance(value, list | tuple) else []


def _fault(words: str) -> PydanticCustomError:
    return PydanticCustomError("job", words)

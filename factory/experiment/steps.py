"""The steps of an experiment, in the order in which they are done: domain, adapters, data sets, and then the cells of
the table. A step's result follows from what it is asked and from the steps that it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from factory.config import FileKind, load_job
from factory.errors import UserError
from factory.experiment import making, measuring
from factory.experiment.spec import PLACEHOLDER, AdapterSpec, ExperimentSpec, MethodSpec
from factory.experiment.workspace import Workspace, asked_digest
from factory.job import JobSpec

EXPERIMENT = FileKind(ExperimentSpec, "experiment", "seeds=[0]")
StepFigures = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A place in the table: a row, and for estimators a share of the real images (0: without training) and a seed."""

    row: str
    share: float | None = None
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """name: of its folder; title: for people; needs: the steps whose results it reads; asked: plain values that its
    result follows from; make: does it in a folder, and returns what result.json holds of it. cell: its place in the
    table; None for what cells are made from."""

    name: str
    title: str
    needs: tuple[str, ...]
    asked: dict[str, Any]
    make: Callable[[Path], StepFigures]
    cell: Cell | None = None


@dataclass(frozen=True, eq=False)
class Experiment:
    """A loaded experiment: its description, its folder, its steps in order, and the job of each data set."""

    spec: ExperimentSpec
    workspace: Workspace
    steps: tuple[Step, ...]
    jobs: dict[str, JobSpec]


def load_experiment(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Experiment:
    """The experiment of a file. overrides: as for a job. UserError: the file, or the job of a data set, is wrong."""
    spec = EXPERIMENT.load(path, overrides)
    workspace = Workspace(spec.output)
    builder = _Builder(spec, workspace, Path(path).parent)
    return Experiment(spec, workspace, tuple(builder.steps()), builder.jobs)


class _Builder:
    """Makes the steps of one experiment; folder: of its file, to which jobs are relative."""

    def __init__(self, spec: ExperimentSpec, workspace: Workspace, folder: Path) -> None:
        self.spec, self.workspace, self.folder = spec, workspace, folder
        self.jobs = {name: self._job(name) for name in spec.data}
        self.made: dict[str, Step] = {}

    def steps(self) -> list[Step]:
        spec = self.spec
        if spec.domain is not None:
            values = spec.domain.model_dump()
            make = partial(making.make_domain, spec.domain, self.workspace.domain)
            self._add("domain", f"domain {spec.domain.name}", (), {"domain": values}, make)
        for name, adapter in spec.adapters.items():
            self._add_adapter(name, adapter)
        for name, job in self.jobs.items():
            values = job.model_dump(mode="json")
            del values["output"]
            needs = self._needs(*spec.data[name].set)
            self._add(f"data/{name}", f"data set {name}", needs, {"job": values}, partial(making.make_data, job))
        return [*self.made.values(), *(self._cells_of_estimators() if spec.estimators else self._cells_of_images())]

    def _add(
        self, name: str, title: str, needs: tuple[str, ...], asked: dict[str, Any], make: Callable[[Path], StepFigures]
    ) -> None:
        self.made[name] = Step(name, title, needs, self._with_needs(asked, needs), make)

    def _with_needs(self, asked: dict[str, Any], needs: tuple[str, ...]) -> dict[str, Any]:
        return {**asked, "needs": {name: asked_digest(self.made[name].asked) for name in needs}}

    def _job(self, name: str) -> JobSpec:
        data = self.spec.data[name]
        output = f"output={json.dumps(str(self.workspace.data(name)))}"
        try:
            return load_job(self.folder / data.job, [*map(self.filled, data.set), output])
        except UserError as error:
            raise UserError(f"data.{name}: {error}") from None

    def filled(self, text: str) -> str:
        """The text with its placeholders replaced."""

        def value(match: Any) -> str:
            what = match[1]
            if what == "domain":
                return str(self.workspace.domain)
            if what == "model":
                assert self.spec.estimators is not None
                return self.spec.estimators.model
            return str(self.workspace.adapter(what.removeprefix("adapter:")) / making.ADAPTER)

        return PLACEHOLDER.sub(value, text)

    def _needs(self, *texts: str) -> tuple[str, ...]:
        """The steps that the placeholders of the texts stand for."""
        found = [match[1] for text in texts for match in PLACEHOLDER.finditer(text)]
        return tuple(dict.fromkeys(what.replace(":", "/") for what in found if what != "model"))

    def _add_adapter(self, name: str, adapter: AdapterSpec) -> None:
        asked = {**adapter.model_dump(), "seed": self.spec.seeds[0]}
        filled = adapter.model_copy(update={"images": self.filled(adapter.images)})
        folder = self.workspace.adapter(name)
        make = partial(making.make_adapter, filled, folder, self.spec.seeds[0])
        self._add(f"adapter/{name}", f"adapter {name}", self._needs(adapter.images), asked, make)

    def _cells_of_estimators(self) -> list[Step]:
        """Seeds come one after the other: the table is whole after the first, and the next ones make it surer."""
        assert self.spec.estimators is not None
        cells = []
        for seed in self.spec.seeds:
            for name, method in self.spec.estimators.methods.items():
                shares = self.spec.estimators.shares
                if method.missing or (method.method == "none" and seed != self.spec.seeds[0]):
                    continue
                cells += [self._training(name, method, share, seed) for share in shares if method.method != "none"]
                cells += [self._training(name, method, 1.0, seed)] if method.method == "none" else []
        return cells

    def _training(self, name: str, method: MethodSpec, share: float, seed: int) -> Step:
        spec, table = self.spec, self.spec.estimators
        assert table is not None
        made = [entry for entry in method.data if entry in spec.data]
        needs = (*self._needs(table.real, table.test), *(f"data/{entry}" for entry in made))
        training = measuring.CellTraining(
            model=table.model,
            body=table.body,
            prior=table.prior,
            real=self.filled(table.real),
            test=self.filled(table.test),
            method=method.method,
            synthetic=tuple(str(self.workspace.data(entry)) if entry in made else entry for entry in method.data),
            where=method.where,
            share=share,
            seed=seed,
            steps=method.steps or spec.steps,
            batch=spec.batch,
            rate=spec.rate,
            mix=method.mix or spec.mix,
            every=spec.every,
            workers=spec.workers,
        )
        title = f"{method.label or name}, {share:.0%}, seed {seed}" if method.method != "none" else method.label or name
        step = f"{name}/share-{100 * share:g}/seed-{seed}" if method.method != "none" else name
        asked = self._with_needs(training.asked(), needs)
        cell = Cell(name, share if method.method != "none" else 0.0, seed)
        return Step(step, title, needs, asked, partial(measuring.train_cell, training), cell)

    def _cells_of_images(self) -> list[Step]:
        """One cell for each data set: its rows are measured together."""
        table = self.spec.images
        assert table is not None
        cells = []
        for name in dict.fromkeys(row.data for row in table.rows.values() if not row.missing):
            made = name in self.spec.data
            needs = (*((f"data/{name}",) if made else ()), *self._needs(table.real))
            comparison = measuring.ImagesCell(
                data=str(self.workspace.data(name)) if made else name,
                real=self.filled(table.real),
                features=tuple(table.features),
                humans=table.humans,
                detector=table.detector,
                crop=table.crop,
                limit=table.limit,
            )
            asked = self._with_needs(comparison.asked(), needs)
            key = name if made else asked_digest({"data": name})
            make = partial(measuring.measure_images, comparison)
            cells.append(Step(f"images/{key}", f"images of {name}", needs, asked, make, Cell(name)))
        return cells

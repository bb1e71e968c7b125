"""Whether everything is here that an experiment needs, with sources and licences, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console
from rich.markup import escape

from factory.doctor.finding import Finding
from factory.doctor.models import look_for
from factory.errors import UserError
from factory.experiment.spec import PLACEHOLDER, EstimatorsSpec, ImagesTableSpec, MethodSpec, RowSpec
from factory.experiment.steps import Experiment
from factory.home import at_home
from factory.job import JobSpec
from factory.plan import plan
from factory.present.terminal import shown
from factory.weights.catalogue import VPOSER_V1, needs
from factory.weights.locate import PREFIX, resolve

MARKS = {"ok": "[green]ok[/]  ", "fault": "[red]no[/]  ", "note": "[yellow]-[/]   "}


def print_findings(console: Console, experiment: Experiment) -> bool:
    """Print what is there and what is missing; returns whether everything is there."""
    sound, told = True, set[str]()
    for finding in findings(experiment):
        sound &= not finding.fault
        if finding.fault and finding.says in told:  # a model that several data sets lack
            continue
        told.add(finding.says)
        name = f"[bold]{escape(finding.name):<30}[/]"
        console.print(f"{MARKS[finding.level]}{name}  {escape(shown(finding.says))}", highlight=False, soft_wrap=True)
    return sound


def findings(experiment: Experiment) -> Iterator[Finding]:
    """The models and data of an experiment, a line for each; what the experiment makes itself is not looked for."""
    spec = experiment.spec
    if spec.domain is not None:
        yield Finding("ok", "domain", f"{spec.domain.name}, rendered here")
    for name, adapter in spec.adapters.items():
        yield _images(f"adapters.{name}.images", adapter.images)
    for name, job in experiment.jobs.items():
        yield from _job(experiment, name, job)
    if spec.estimators is not None:
        yield from _estimators(experiment, spec.estimators)
    if spec.images is not None:
        yield from _table_of_images(experiment, spec.images)
    rows: dict[str, MethodSpec | RowSpec] = {}
    rows |= spec.estimators.methods if spec.estimators else {}
    rows |= spec.images.rows if spec.images else {}
    for key, row in rows.items():
        if row.missing:
            yield Finding("note", key, f"not computed: {row.missing}")


def _job(experiment: Experiment, name: str, job: JobSpec) -> Iterator[Finding]:
    """The models of a data set's job, and its real images unless the experiment makes them."""
    missing = False
    reduced = _without_own_adapters(experiment, job)
    for need in needs(reduced):
        finding = look_for(need, reduced)
        missing |= finding.fault
        if finding.fault:
            yield replace(finding, name=f"data.{name}: {finding.name.rpartition('stages.')[2]}")
    if missing:
        return
    own = PLACEHOLDER.search(" ".join(experiment.spec.data[name].set))
    try:
        words = "its images are made by the experiment" if own and job.images else f"{plan(job).records:,} records"
        yield Finding("ok", f"data.{name}", f"its models are here; {words}")
    except UserError as error:
        kind = job.images.kind if job.images else ""
        yield Finding("fault", f"data.{name}", f"{error}{f' (get {SOURCES[kind]})' if kind in SOURCES else ''}")


def _without_own_adapters(experiment: Experiment, job: JobSpec) -> JobSpec:
    """The job without the adapters that the experiment has yet to train."""
    root = str(experiment.workspace.root)
    stages = job.stages
    for name in ("generate", "refine"):
        stage = getattr(stages, name)
        if stage.adapter and stage.adapter.startswith(root):
            stages = stages.model_copy(update={name: stage.model_copy(update={"adapter": None})})
    return job.model_copy(update={"stages": stages})


def _estimators(experiment: Experiment, table: EstimatorsSpec) -> Iterator[Finding]:
    from factory.finetune.network_files import load_start
    from factory.geometry.body import BodyModel

    for field, text in (("real", table.real), ("test", table.test)):
        yield _people(f"estimators.{field}", text)
    for key, method in table.methods.items():
        given = [] if method.missing else [entry for entry in method.data if entry not in experiment.spec.data]
        yield from (_people(f"estimators.methods.{key}", entry) for entry in given)
    for name, load, model in (("model", load_start, table.model), ("body", BodyModel, table.body)):
        try:
            load(model)
            yield Finding("ok", f"estimators.{name}", model)
        except UserError as error:
            yield Finding("fault", f"estimators.{name}", str(error))
    if any(method.method in ("spin-ft", "dapa") for method in table.methods.values()):
        there = table.prior.startswith(PREFIX) or at_home(resolve(table.prior)).is_dir()
        says = table.prior if there else f"no such folder: {table.prior}; get {VPOSER_V1.origin}"
        yield Finding.of(there, "estimators.prior", says)


SOURCES = {
    "smart": "SMART, from the authors of SportsCap; for research only",
    "skipose": "Ski-PosePTZ, from its authors, on request; for research only",
}


def _people(field: str, text: str) -> Finding:
    from factory.labelled.choice import open_people

    if PLACEHOLDER.search(text):
        return Finding("ok", field, "made by the experiment")
    kind = text.partition(":")[0]
    try:
        return Finding("ok", field, f"{text}: {len(open_people(text)):,} people")
    except UserError as error:
        return Finding("fault", field, f"{error}{f' (get {SOURCES[kind]})' if kind in SOURCES else ''}")


def _images(field: str, text: str) -> Finding:
    from factory.evaluate.image_sets import real_images

    if PLACEHOLDER.search(text):
        return Finding("ok", field, "made by the experiment")
    kind = text.partition(":")[0]
    try:
        return Finding("ok", field, f"{text}: {real_images(text, None).count:,} images")
    except UserError as error:
        says = str(error).removeprefix("--real ")
        return Finding("fault", field, f"{says}{f' (get {SOURCES[kind]})' if kind in SOURCES else ''}")


def _table_of_images(experiment: Experiment, table: ImagesTableSpec) -> Iterator[Finding]:
    from factory.evaluate.extractors import load_extractor
    from factory.models.device import pick

    yield _images("images.real", table.real)
    for words in table.features:
        try:
            load_extractor(words, pick("cpu"))
            yield Finding("ok", "images.features", words)
        except UserError as error:
            yield Finding("fault", "images.features", str(error))
    for key, row in table.rows.items():
        if row.data not in experiment.spec.data and not row.missing:
            yield replace(_images("images.rows", row.data), name=f"images.rows.{key}")
    if table.study is not None:
        from factory.evaluate.study_sum import load_study

        try:
            load_study([table.study])
            yield Finding("ok", "images.study", table.study)
        except UserError as error:
            yield Finding("fault", "images.study", str(error))

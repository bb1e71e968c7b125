"""The table of an experiment: our figures with their spread, beside the paper's, and what is missing.

Of several seeds a figure is the mean, with half the 95 % interval of the mean by Student's t. Of one seed it is that
seed's, with half the interval of a bootstrap over the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.evaluate.hmr import EVERYBODY
from factory.experiment.paper import PAPER_ACTIONS, PaperFigures, PaperTable, paper_table
from factory.experiment.spec import EstimatorsSpec, ImagesTableSpec
from factory.experiment.steps import Experiment, Step

BASELINE = "2d"  # the method that gains are told against
SHORT = {"gymnastics on uneven bars": "uneven bars", "gymnastics on a balance beam": "balance beam"}
MORE_IS_BETTER = ("PCK", "precision", "recall", "preference")
IMAGE_FIGURES = ("FID", "H-FID", "KID", "H-KID")
Results = Mapping[str, dict[str, Any]]  # name of a step -> what it has left


@dataclass(frozen=True)
class Column:
    """figure: its name; of: what it is of, such as an action or a share; key: of both, as in the paper's tables.
    group, shares: which of our figures it shows, of which cells (tables of estimators)."""

    figure: str
    of: str = ""
    key: str = ""
    group: str = EVERYBODY
    shares: tuple[float, ...] = ()

    @property
    def lower(self) -> bool:
        """Whether less is better."""
        return self.figure.removeprefix("H-") not in MORE_IS_BETTER


@dataclass(frozen=True)
class Value:
    """A figure, and half its 95 % interval (None: unknown). by_seed: seed -> the figure with it."""

    value: float
    spread: float | None
    by_seed: dict[int | None, float]


@dataclass
class TableRow:
    """A row. ours: key of a column -> value; paper, paper_label: the paper's row beside it; missing: why there is
    nothing; cells: (done, planned)."""

    key: str
    label: str
    ours: dict[str, Value] = field(default_factory=dict)
    paper: PaperFigures = field(default_factory=dict)
    paper_label: str = ""
    missing: str = ""
    cells: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Gain:
    """How much lower (-) or higher (+) a row's figure is than the baseline's, in percent, with half the 95 % interval
    over seeds (None for one seed). better: whether that is good; sure: whether the interval excludes 0."""

    row: str
    column: Column
    percent: float
    spread: float | None
    better: bool
    sure: bool


@dataclass
class ResultTable:
    """All rows and columns; others: rows of the paper that have none of ours beside them; gains: how much better rows
    are than `baseline`; notes: how it was measured."""

    name: str
    title: str
    about: str
    columns: list[Column]
    rows: list[TableRow]
    paper: PaperTable
    others: dict[str, PaperFigures]
    baseline: str = ""
    gains: list[Gain] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[int, int]:
        """(done, planned) of all rows."""
        done, planned = (sum(row.cells[i] for row in self.rows) for i in (0, 1))
        return done, planned


def result_table(experiment: Experiment, blocked: Mapping[str, str] | None = None) -> ResultTable:
    """The table of what is done so far. blocked: step -> why it could not be done."""
    spec, workspace, why = experiment.spec, experiment.workspace, blocked or {}
    paper = paper_table(spec.table, spec.part)
    results = {s.name: found for s in experiment.steps if (found := workspace.result(s.name, s.asked)) is not None}
    if spec.estimators is not None:
        columns = estimator_columns(spec.table, spec.estimators)
        rows = [_method_row(experiment, key, columns, results, paper, why) for key in spec.estimators.methods]
    else:
        assert spec.images is not None
        columns, rows = _images(experiment, spec.images, results, paper, why)
    columns = [column for column in columns if any(column.key in {**row.ours, **row.paper} for row in rows)]
    beside = {row.paper_label for row in rows}
    others = {name: figures for name, figures in paper.rows.items() if name not in beside}
    table = ResultTable(spec.name, spec.title or spec.name, spec.about, columns, rows, paper, others)
    if spec.estimators is not None:
        methods = spec.estimators.methods
        baseline = next((row for row in rows if methods[row.key].method == BASELINE and row.ours), None)
        if baseline is not None:
            table.baseline = baseline.label
            table.gains = [gain for row in rows if row is not baseline for gain in gains(row, baseline, columns)]
    noted = [line for found in results.values() for line in (*found.get("methods", ()), *found.get("notes", ()))]
    table.notes = list(dict.fromkeys(noted))
    return table


def estimator_columns(number: int, table: EstimatorsSpec) -> list[Column]:
    """Table 1: PCK of each action and of all, and 3D errors where the test images have such labels. Table 2: errors by
    share of the real images, of which 0 is no training. A cell without training is shown in every column of Table 1."""
    if number == 1:
        shares = (max(table.shares), 0.0)
        columns = [Column("PCK", SHORT.get(name, name), f"PCK/{name}", name, shares) for name in PAPER_ACTIONS]
        whole = [
            Column(figure, EVERYBODY, f"{figure}/all", EVERYBODY, shares) for figure in ("PCK", "MPJPE", "PA-MPJPE")
        ]
        return columns + whole
    return [
        Column(figure, f"{100 * share:g} %", f"{figure}/{share:g}", EVERYBODY, (share,))
        for share in (0.0, *table.shares)
        for figure in ("MPJPE", "PA-MPJPE")
    ]


def _method_row(
    experiment: Experiment, key: str, columns: Iterable[Column], results: Results, paper: PaperTable,
    blocked: Mapping[str, str],
) -> TableRow:  # fmt: skip
    assert experiment.spec.estimators is not None
    method = experiment.spec.estimators.methods[key]
    steps = [step for step in experiment.steps if step.cell and step.cell.row == key]
    row = _row(key, method.label, method.paper, method.missing, paper, steps, results, blocked)
    for column in columns:
        found = {
            step.cell.seed: figure
            for step in steps
            if step.cell and step.name in results and step.cell.share in column.shares
            if (figure := results[step.name]["figures"].get(column.group, {}).get(column.figure)) is not None
        }
        if found:
            row.ours[column.key] = over_seeds(found)
    return row


def _row(
    key: str, label: str, paper_label: str | None, missing: str | None, paper: PaperTable, steps: Sequence[Step],
    results: Results, blocked: Mapping[str, str],
) -> TableRow:  # fmt: skip
    done = sum(step.name in results for step in steps)
    why = missing or ("" if done else next((blocked[step.name] for step in steps if step.name in blocked), ""))
    name = paper_label or ""
    return TableRow(key, label or key, {}, paper.rows.get(name, {}), name, why, (done, len(steps)))


def _images(
    experiment: Experiment, table: ImagesTableSpec, results: Results, paper: PaperTable, blocked: Mapping[str, str]
) -> tuple[list[Column], list[TableRow]]:
    rows, names = [], list[str]()
    for key, spec in table.rows.items():
        steps = [step for step in experiment.steps if step.cell and step.cell.row == spec.data and not spec.missing]
        row = _row(key, spec.label, spec.paper, spec.missing, paper, steps, results, blocked)
        for step in steps:
            for name, figure in results.get(step.name, {"figures": {}})["figures"].get(spec.images, {}).items():
                row.ours[name] = Value(figure["value"], figure["spread"], {None: figure["value"]})
                names.append(name)
        if table.study is not None and (preference := _preference(table.study, spec.images)) is not None:
            row.ours["preference"] = preference
            names.append("preference")
        rows.append(row)
    ordered = ["preference", *IMAGE_FIGURES, *dict.fromkeys(names)]
    return [Column(name, key=name) for name in dict.fromkeys(ordered)], rows


def _preference(study: str, images: str) -> Value | None:
    """The share of answers of the user study that prefer these images."""
    from factory.evaluate.study_sum import load_study, summarise_study

    summary = summarise_study(*load_study([study]))
    share = summary.shares.get(images)
    if share is None or share.value is None or share.interval is None:
        return None
    low, high = share.interval
    return Value(share.value, (high - low) / 2, {None: share.value})


def over_seeds(found: Mapping[int | None, Mapping[str, float]]) -> Value:
    """found: seed -> the figure with it: value, and low and high of its interval over images."""
    values = {seed: figure["value"] for seed, figure in found.items()}
    if len(values) == 1:
        [figure] = found.values()
        return Value(figure["value"], (figure["high"] - figure["low"]) / 2, values)
    array = np.array(list(values.values()))
    return Value(float(array.mean()), half_interval(array), values)


def half_interval(values: np.ndarray) -> float:
    """Half the 95 % interval of the mean of several values, by Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def gains(row: TableRow, baseline: TableRow, columns: Iterable[Column]) -> list[Gain]:
    """The row against the baseline, seed by seed, in the columns over everybody that both have."""
    found = []
    for column in columns:
        ours, theirs = row.ours.get(column.key), baseline.ours.get(column.key)
        if ours is None or theirs is None or column.group != EVERYBODY:
            continue
        seeds = [seed for seed in ours.by_seed if seed in theirs.by_seed]
        if not seeds:  # the row has no seeds: nothing was trained
            continue
        changes = np.array([100 * (ours.by_seed[s] / theirs.by_seed[s] - 1) for s in seeds if theirs.by_seed[s]])
        if not len(changes):
            continue
        percent, spread = float(changes.mean()), half_interval(changes) if len(changes) > 1 else None
        sure = spread is not None and abs(percent) > spread
        found.append(Gain(row.label, column, percent, spread, (percent < 0) == column.lower, sure))
    return found

"""What a data set holds, counted from its index: states, metrics, poses per action, people per image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from factory.job import JobSpec
from factory.metrics import METRICS, of_images
from factory.present.terminal import say, shown
from factory.present.words import error_lines
from factory.store.dataset import DataSet
from factory.store.failed import ErrorCount, count_errors
from factory.store.index import SCHEMA
from factory.store.where import Where

BINS = 20
NO_PROMPT = "no prompt"
BLOCKS, PLAIN_BLOCKS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"


@dataclass(frozen=True)
class Distribution:
    """A metric over the samples. counts: how many samples fall into each of BINS bins from 0 to `end`; the last bin
    also holds what lies beyond. mean, low, median, high: None where no sample has the metric."""

    end: float
    counts: list[int]
    missing: int  # samples without the metric
    mean: float | None
    low: float | None  # 5 % lie below
    median: float | None
    high: float | None  # 5 % lie above


@dataclass(frozen=True)
class Stats:
    """Counts of a data set. states, reasons, faults: of all its records, or of those that fit the condition. The others
    are of the ok records among them."""

    out: str
    name: str
    planned: int
    states: dict[str, int]
    reasons: dict[str, int]
    faults: list[ErrorCount]
    refined: int
    people: dict[int, int]  # people in an image -> images
    actions: dict[str, int]  # -> people: poses that show the action
    measures: dict[str, Distribution]  # by name of the metric, in the order of factory.metrics

    @property
    def images(self) -> int:
        return self.states.get("ok", 0)


def collect(data: DataSet, where: str | None = None) -> Stats:
    """Figures of the finished records, or of those that fit a condition as for `factory export`. UserError: the
    condition is wrong, or an index is damaged."""
    rows = data.rows
    if where:
        rows = rows.filter(Where(where, SCHEMA)(rows))
    return summarise(data.address, data.job, rows)


def summarise(out: str, job: JobSpec, rows: pa.Table) -> Stats:
    """rows: of the data set's index (SCHEMA)."""
    samples = rows.filter(rows["size"].to_numpy() > 0)
    people = samples["people"].to_numpy()
    shown: Counter[str] = Counter()
    for prompt, count in zip(samples["prompt"].to_pylist(), people.tolist(), strict=True):
        shown[action(prompt, list(job.prompts.action))] += count
    return Stats(
        out=out,
        name=job.name,
        planned=job.records,
        states=_counts(rows["state"].to_pylist()),
        reasons=_counts(reason for reason in rows["reason"].to_pylist() if reason),
        faults=count_errors(rows),
        refined=sum(samples["refined"].to_pylist()),
        people=dict(sorted(Counter(people.tolist()).items())),
        actions=_counts(shown),
        measures={m.name: distribution(samples[m.name].to_numpy(), m.plot_to) for m in of_images()},
    )


def action(prompt: str, actions: Sequence[str]) -> str:
    """The job's action that the prompt names (of "vault" and "pole vault" the longer one), or the prompt itself;
    NO_PROMPT where it is empty."""
    return max((name for name in actions if name in prompt), key=len, default=prompt) or NO_PROMPT


def distribution(values: np.ndarray, end: float) -> Distribution:
    """values (N,), NaN where there is none."""
    values = values.astype(np.float64)
    known = values[np.isfinite(values)]
    counts = np.histogram(known.clip(0, end), BINS, (0, end))[0].tolist()
    figures = [float(known.mean()), *np.percentile(known, [5, 50, 95]).tolist()] if len(known) else [None] * 4
    rounded = [None if figure is None else round(figure, 4) for figure in figures]
    return Distribution(end, counts, len(values) - len(known), *rounded)


def _counts(items: Iterable[str]) -> dict[str, int]:
    """Item -> how often it occurs; the most frequent first, equally frequent ones by name."""
    return dict(sorted(Counter(items).items(), key=lambda item: (-item[1], item[0])))


def show_stats(console: Console, data_sets: Sequence[Stats], actions: int = 40) -> None:
    """Print tables, with several data sets side by side. actions: rows of that table at most, the most frequent
    ones."""
    titles = [one.out for one in data_sets]
    _print_counts(console, "records", titles, [_records(one) for one in data_sets])
    for one in data_sets:
        if one.faults:
            title = f" [dim]{escape(shown(one.out))}[/]" if len(data_sets) > 1 else ""
            console.print(f"[bold]why records failed[/]{title}")
            for line in error_lines(one.faults, 10):
                say(console, line)
            console.print()
    _print_measures(console, data_sets)
    people = [{str(number): count for number, count in one.people.items()} for one in data_sets]
    _print_counts(console, "people per image", titles, people)
    _print_counts(console, "poses per action", titles, [one.actions for one in data_sets], actions)


def _records(one: Stats) -> dict[str, int]:
    rows = {"planned": one.planned, "ok": one.images, "  refined": one.refined}
    rows |= {state: count for state, count in one.states.items() if state != "ok"}
    return rows | {f"  {reason}": count for reason, count in one.reasons.items()} | {"people": _people(one)}


def _people(one: Stats) -> int:
    return sum(number * count for number, count in one.people.items())


def _print_counts(
    console: Console, title: str, titles: list[str], columns: list[dict[str, int]], limit: int | None = None
) -> None:
    names = list(dict.fromkeys(name for column in columns for name in column))
    if not names:
        return
    table = _table(titles if len(titles) > 1 else [""])
    for name in names[:limit]:
        table.add_row(escape(shown(name)), *(f"{column.get(name, 0):,}" for column in columns))
    if limit and len(names) > limit:
        table.add_row(f"and {len(names) - limit} more")
    _print(console, title, table)


def _print_measures(console: Console, data_sets: Sequence[Stats]) -> None:
    missing = any(m.missing for one in data_sets for m in one.measures.values())
    table = _table(["mean", "5 %", "median", "95 %", *["none"] * missing])
    table.add_column("distribution from 0", header_style="dim", no_wrap=True)
    blocks = BLOCKS if console.encoding.startswith("utf") else PLAIN_BLOCKS
    for name in (metric.name for metric in of_images()):
        if len(data_sets) > 1:
            table.add_row(name)
        for one in data_sets:
            m = one.measures[name]
            figures = [figure(value, name) for value in (m.mean, m.low, m.median, m.high)]
            end = f"{m.end:g}" + "+" * (m.end < METRICS[name].high)
            title = f"  {escape(shown(one.out))}" if len(data_sets) > 1 else name
            table.add_row(title, *figures, *[f"{m.missing:,}"] * missing, f"{bars(m.counts, blocks)} {end}")
    _print(console, "samples", table)


def figure(value: float | None, name: str) -> str:
    """A value of the metric called `name`, with as many digits as tell something; "-" for None."""
    return "-" if value is None else f"{value:.{METRICS[name].digits}f}"


def bars(counts: Sequence[int], blocks: str = BLOCKS) -> str:
    """A histogram in one line of text: for each count one character of `blocks`, which run from empty to full. A count
    above 0 is never shown as empty."""
    most = max(counts, default=0) or 1
    return "".join(blocks[-(-count * (len(blocks) - 1) // most)] for count in counts)


def _print(console: Console, title: str, table: Table) -> None:
    console.print(f"[bold]{title}[/]")  # a table's own title is wrapped to its width
    console.print(table)
    console.print()


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    table.add_column(
        "", style="dim", overflow="ellipsis"
    )  # on a narrow terminal this column is cut, the figures are not
    for column in columns:
        table.add_column(escape(shown(column)), header_style="dim", justify="right", no_wrap=True)
    return table

"""table.html: the table of an experiment in a page that needs nothing beside it, with a chart of each main figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from factory.evaluate.hmr import EVERYBODY
from factory.experiment.show import digits, gain_lines, spread_lines
from factory.experiment.steps import Experiment
from factory.experiment.tables import Column, ResultTable, Value

PAGE, TEMPLATE = "table.html", "page.html.j2"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 380, 230, 40, 12, 12, 26  # of the chart by share, px
SERIES = 8  # colours of the page


@dataclass(frozen=True)
class Bar:
    """One bar of a chart. share, low, high: of the chart's width, 0 ... 1; of the value and of its interval."""

    label: str
    text: str
    share: float
    low: float | None
    high: float | None
    paper: bool
    best: bool


@dataclass(frozen=True)
class BarChart:
    """The rows in one column: ours and below them the paper's."""

    column: Column
    bars: list[Bar]


@dataclass(frozen=True)
class Line:
    """A row over shares: the points of its polyline and of its interval, px."""

    label: str
    colour: int
    points: list[tuple[float, float]]
    bars: list[tuple[float, float, float]]  # x, y of the lower end, y of the upper end


@dataclass(frozen=True)
class LineChart:
    """Rows over the share of real images. ticks: (y px, text); marks: (x px, text)."""

    figure: str
    lines: list[Line]
    ticks: list[tuple[float, str]]
    marks: list[tuple[float, str]]


def write_page(experiment: Experiment, table: ResultTable) -> Path:
    """Write the page into the experiment's folder; returns its path."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure_text, "spread": spread_text}
    template = environment.from_string(Path(__file__).with_name(TEMPLATE).read_text("utf-8"))
    done, planned = table.cells
    by_share = table.paper.number == 2
    page = template.render(
        table=table,
        done=done,
        planned=planned,
        best={column.key: best_row(table, column) for column in table.columns},
        bars=[] if by_share else [bar_chart(table, column) for column in main_columns(table)],
        lines=[chart for figure in ("PA-MPJPE", "MPJPE") if (chart := line_chart(table, figure))] if by_share else [],
        gains=[line.replace("+-", "±") for line in gain_lines(table)],
        notes=[line.replace("+-", "±") for line in (*spread_lines(table), *table.notes)],
        size={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
    )
    path = experiment.workspace.root / PAGE
    experiment.workspace.write(path, page)
    return path


def figure_text(value: float | None) -> str:
    """The figure as tables show it; empty for None."""
    return "" if value is None else f"{value:.{digits(value)}f}"


def spread_text(value: Value) -> str:
    """The spread of a value, with as many digits as the value has."""
    return f"{value.spread or 0:.{digits(value.value)}f}"


def best_row(table: ResultTable, column: Column) -> str:
    """Key of our best row in a column; empty where fewer than two rows have it."""
    rows = [(row.ours[column.key].value, row.key) for row in table.rows if column.key in row.ours]
    return (min(rows) if column.lower else max(rows))[1] if len(rows) > 1 else ""


def main_columns(table: ResultTable) -> list[Column]:
    """The columns that get a chart: those over everybody that we have."""
    ours = {key for row in table.rows for key in row.ours}
    return [column for column in table.columns if column.key in ours and column.group == EVERYBODY][:6]


def bar_chart(table: ResultTable, column: Column) -> BarChart:
    """A bar for each of our rows that has the column, and one for each of the paper's beside them."""
    values = [(row.label, row.ours[column.key], row.key) for row in table.rows if column.key in row.ours]
    paper = [(row.paper_label, row.paper[column.key]) for row in table.rows if column.key in row.paper]
    ends = [value.value + (value.spread or 0) for _, value, _ in values] + [value for _, value in paper]
    most = max(ends, default=1) or 1
    best = best_row(table, column)
    bars = []
    for label, value, key in values:
        spread = value.spread
        low, high = (None, None) if spread is None else ((value.value - spread) / most, (value.value + spread) / most)
        text = figure_text(value.value)
        bars.append(Bar(label, text, max(value.value / most, 0), low and max(low, 0), high, False, key == best))
    bars += [Bar(f"paper: {label}", f"{value:g}", value / most, None, None, True, False) for label, value in paper]
    return BarChart(column, bars)


def line_chart(table: ResultTable, figure: str) -> LineChart | None:
    """Our rows over the share of real images, on a logarithmic axis; None where nothing has the figure. A row that is
    not trained is drawn as a level line."""
    columns = [column for column in table.columns if column.figure == figure]
    trained = [column for column in columns if column.shares != (0.0,)]
    shown = [row for row in table.rows if any(column.key in row.ours for column in columns)]
    values = [row.ours[column.key] for row in shown for column in columns if column.key in row.ours]
    if not values or not trained:
        return None
    low = min(value.value - (value.spread or 0) for value in values)
    high = max(value.value + (value.spread or 0) for value in values)
    margin = 0.06 * (high - low) or 1
    low, high = low - margin, high + margin
    logs = [math.log10(column.shares[0]) for column in trained]
    first, span = min(logs), (max(logs) - min(logs)) or 1

    def x(share: float) -> float:
        return LEFT + 18 + (WIDTH - LEFT - RIGHT - 36) * (math.log10(share) - first) / span

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    lines = []
    for number, row in enumerate(shown):
        points: list[tuple[float, float]] = []
        bars: list[tuple[float, float, float]] = []
        for column in columns:
            value = row.ours.get(column.key)
            if value is None:
                continue
            if column.shares == (0.0,):
                points += [(LEFT, y(value.value)), (WIDTH - RIGHT, y(value.value))]
                continue
            at = x(column.shares[0])
            points.append((at, y(value.value)))
            if value.spread is not None:
                bars.append((at, y(value.value - value.spread), y(value.value + value.spread)))
        lines.append(Line(row.label, number % SERIES, points, bars))
    step = _round_step((high - low) / 4)
    ticks = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    marks = [(x(column.shares[0]), column.of) for column in trained]
    return LineChart(figure, lines, [(y(tick), f"{tick:g}") for tick in ticks], marks)


def _round_step(step: float) -> float:
    """The step, rounded to 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step))
    return power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - step))

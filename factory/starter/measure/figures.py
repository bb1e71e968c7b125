"""A measured figure of the starter pack beside its goal, and lists of figures as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

MARKS = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


@dataclass(frozen=True)
class Figure:
    """One figure: `value` in `unit`, over `n` of what `of` names (images, people).

    goal: the value to be reached from below, or from above with `at_most`; None where the figure only explains another.
    """

    part: str
    measure: str
    value: float
    n: int
    of: str
    unit: str = ""
    goal: float | None = None
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal. False also where the value is NaN, because nothing could be
        measured."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    @property
    def sign(self) -> str:
        """How the value must compare to the goal."""
        return "<=" if self.at_most else ">="


def percent(part: str, measure: str, hits: Sequence[bool], of: str, goal: float | None = None) -> Figure:
    """The share of `hits` that are true, in percent. goal: in percent."""
    return Figure(part, measure, 100 * mean(hits), len(hits), of, "%", goal)


def mean(values: Sequence[float] | Sequence[bool] | np.ndarray) -> float:
    """The mean; NaN of an empty sequence, which reaches no goal."""
    return float(sum(values) / len(values)) if len(values) else float("nan")


def as_json(rows: Sequence[Figure]) -> list[dict[str, Any]]:
    """Each figure as plain values, NaN as None."""
    return [
        {
            "part": row.part, "measure": row.measure, "value": _plain(row.value), "unit": row.unit,
            "goal": row.goal, "better": "lower" if row.at_most else "higher", "n": row.n, "of": row.of,
            "reached": row.reached,
        }
        for row in rows
    ]  # fmt: skip


def as_table(rows: Sequence[Figure]) -> Table:
    """The figures as a table for a terminal, those without a goal dimmed."""
    from rich.table import Table

    table = Table(title="starter pack", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("part", "measure", "value", "goal", "n", "reached"):
        table.add_column(name, justify="right" if name in ("value", "goal") else "left", header_style="dim")
    last = ""
    for row in rows:
        goal = "" if row.goal is None else f"{row.sign} {row.goal:g}"
        part, last = row.part if row.part != last else "", row.part
        dim = "[dim]" if row.goal is None else ""
        table.add_row(part, dim + row.measure, value_text(row), goal, f"{row.n:,} {row.of}", MARKS[row.reached])
    return table


def value_text(row: Figure) -> str:
    """Value and unit."""
    digits = 1 if abs(row.value) >= 10 else 3
    return f"{row.value:.{digits}f}{' ' + row.unit if row.unit else ''}"


def _plain(value: float) -> float | None:
    return None if value != value else round(value, 4)

"""`factory evaluate hmr` as a table for people and as plain values for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from factory.evaluate.bootstrap import IntervalValue
from factory.evaluate.hmr import EVERYBODY, UNITS, EstimatorFigures
from factory.present.terminal import say, shown


def show_estimator(console: Console, model: str, found: EstimatorFigures) -> None:
    """A table of the figures in mm and one of those in %: a line for all people and one for each action."""
    for unit, title in (("mm", "errors in mm"), ("%", "agreement in the image in %")):
        names = [name for name in found.figures[EVERYBODY] if UNITS[name] == unit]
        if names:
            console.print(_table(f"{model} on {found.data}: {title}", names, found))
    for line in found.methods:
        console.print(f"[dim]{escape(shown(line))}[/]", highlight=False, soft_wrap=True)
    for line in found.notes:
        say(console, f"note: {line}")


def _table(title: str, names: list[str], found: EstimatorFigures) -> Table:
    words = escape(shown(title))
    table = Table(title=words, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("people", header_style="dim", overflow="fold")
    table.add_column("n", justify="right", header_style="dim")
    for name in names:
        table.add_column(name, justify="right", header_style="dim", no_wrap=True)
    for group, figures in found.figures.items():
        cells = [_words(figures[name]) if name in figures else "-" for name in names]
        table.add_row(escape(shown(group)), f"{found.count[group]:,}", *cells)
    return table


def _words(figure: IntervalValue) -> str:
    """The value and its interval, which one person alone does not have."""
    interval = f"[dim]{figure.low:.0f}-{figure.high:.0f}[/]" if figure.count > 1 else ""
    return f"{figure.value:.1f} {interval}"


def estimator_json(model: str, found: EstimatorFigures) -> dict[str, Any]:
    """model, data; groups: one for all people and one for each action, with n and figures: name -> value, low, high (of
    the 95 % interval), count of people, unit."""
    return {
        "model": model,
        "data": found.data,
        "groups": [
            {
                "group": group,
                "n": found.count[group],
                "figures": {name: {**asdict(figure), "unit": UNITS[name]} for name, figure in figures.items()},
            }
            for group, figures in found.figures.items()
        ],
        "methods": found.methods,
        "notes": found.notes,
    }

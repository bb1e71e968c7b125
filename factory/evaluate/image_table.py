"""`factory evaluate images` as tables for people and as plain values for programs."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from factory.evaluate.images import Comparison, Row
from factory.evaluate.statistics import SpreadValue
from factory.present.terminal import say, shown


def show_comparison(console: Console, comparison: Comparison) -> None:
    """A table for each extractor and region, a line for each kind of images of each data set."""
    rows = sorted(comparison.rows, key=lambda row: _place(row, comparison.rows))
    for (extractor, region), some in groupby(rows, lambda row: (row.extractor, row.region)):
        console.print(_table(f"{extractor}, {region}, against {comparison.real}", list(some)))
    for line in comparison.methods:
        console.print(f"[dim]{escape(shown(line))}[/]", highlight=False, soft_wrap=True)
    for line in comparison.notes:
        say(console, f"note: {line}")
    for line in comparison.warnings:
        say(console, f"warning: {line}")


def _place(row: Row, rows: list[Row]) -> tuple[int, int]:
    extractors, regions = ([getattr(each, name) for each in rows] for name in ("extractor", "region"))
    return extractors.index(row.extractor), regions.index(row.region)


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=escape(shown(title)), title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("data", header_style="dim", overflow="fold")
    table.add_column("images", header_style="dim")
    for name in ("n", "real", *rows[0].figures):
        table.add_column(name, justify="right", header_style="dim", no_wrap=True)
    last = ""
    for row in rows:
        name, last = row.data if row.data != last else "", row.data
        figures = [_words(figure) for figure in row.figures.values()]
        table.add_row(escape(shown(name)), row.images, f"{row.count:,}", f"{row.real_count:,}", *figures)
    return table


def _words(figure: SpreadValue) -> str:
    """The value and its spread, with as many digits after the point as the larger of both can do with."""
    size = max(abs(figure.value), figure.spread)
    digits = 1 if size >= 10 else 2 if size >= 0.1 else 4
    return f"{figure.value:.{digits}f} [dim]+- {figure.spread:.{digits}f}[/]"


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "real": comparison.real,
        "rows": [
            {
                "data": row.data, "images": row.images, "region": row.region, "extractor": row.extractor,
                "n": row.count, "real_n": row.real_count,
                "figures": {name: _plain(figure) for name, figure in row.figures.items()},
            }
            for row in comparison.rows
        ],
        "methods": comparison.methods,
        "notes": comparison.notes,
        "warnings": comparison.warnings,
    }  # fmt: skip


def _plain(figure: SpreadValue) -> dict[str, Any]:
    if figure.over_subsets:
        return {"value": figure.value, "subset_std": figure.spread}
    return {"value": figure.value, "interval_95": [figure.value - figure.spread, figure.value + figure.spread]}

"""The table of an experiment as text for people and as plain values for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from factory.experiment.tables import Column, ResultTable, TableRow, Value
from factory.present.terminal import say, shown


def print_table(console: Console, table: ResultTable) -> None:
    """Print the table, the gains, what is missing, and how it was measured."""
    grid = Table(title=escape(shown(table.title)), title_justify="left", title_style="bold", box=None, pad_edge=False)
    grid.add_column("", overflow="fold")
    for column in table.columns:
        grid.add_column(_head(column), justify="right", header_style="dim")
    for row in table.rows:
        if row.ours:
            grid.add_row(escape(shown(row.label)), *(_cell(row.ours.get(column.key)) for column in table.columns))
        if row.paper:
            name = escape(shown(f"  paper: {row.paper_label}"))
            grid.add_row(f"[dim]{name}[/]", *(f"[dim]{_paper(row, column)}[/]" for column in table.columns))
    console.print(grid)
    for row in table.rows:
        done, planned = row.cells
        if row.missing:
            say(console, f"{row.label}: missing: {row.missing}")
        elif done < planned:
            say(console, f"{row.label}: {done} of {planned} cells are done")
    for line in gain_lines(table):
        say(console, line)
    for line in (*spread_lines(table), *table.notes):
        console.print(f"[dim]{escape(shown(line))}[/]", highlight=False, soft_wrap=True)


def gain_lines(table: ResultTable) -> list[str]:
    """Each row against the baseline, in a line; of a table by share, in PA-MPJPE alone."""
    by_share = table.paper.number == 2
    lines = []
    for row in dict.fromkeys(gain.row for gain in table.gains):
        words = [
            f"{gain.column.figure}{f' ({gain.column.of})' if by_share else ''} {gain.percent:+.1f} %"
            f"{'' if gain.spread is None else f' +- {gain.spread:.1f}'}"
            for gain in table.gains
            if gain.row == row and (not by_share or gain.column.figure == "PA-MPJPE")
        ]
        lines.append(f"{row} against {table.baseline}: {', '.join(words)}")
    return lines


def spread_lines(table: ResultTable) -> list[str]:
    """What stands beside the figures, and where the paper's come from."""
    seeds = {len(value.by_seed) for row in table.rows for value in row.ours.values()}
    lines = []
    if seeds - {1}:
        lines.append(f"+-: half the 95 % interval of the mean of {max(seeds)} seeds, by Student's t")
    if 1 in seeds:
        lines.append("+- of a single training or of none: half the 95 % interval by bootstrap over the test images")
    return [*lines, f"paper: {table.paper.source}; {table.paper.note}"]


def digits(value: float) -> int:
    """Digits after the point with which a figure is shown."""
    return 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3


def table_json(table: ResultTable) -> dict[str, Any]:
    """The table as plain values."""
    values = asdict(table)
    for row in values["rows"]:
        for value in row["ours"].values():
            value["by_seed"] = {str(seed): figure for seed, figure in value["by_seed"].items() if seed is not None}
    return values


def _head(column: Column) -> str:
    return escape(shown(f"{column.figure}\n{column.of}" if column.of else column.figure))


def _cell(value: Value | None) -> str:
    if value is None:
        return ""
    places = digits(value.value)
    spread = "" if value.spread is None else f" [dim]+- {value.spread:.{places}f}[/]"
    return f"{value.value:.{places}f}{spread}"


def _paper(row: TableRow, column: Column) -> str:
    figure = row.paper.get(column.key)
    return "" if figure is None else f"{figure:g}"

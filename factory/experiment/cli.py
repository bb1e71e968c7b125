"""`factory experiment FILE`: a whole table, from data to figures beside the paper's."""

from __future__ import annotations

import json
import re
import sys
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from factory.errors import UserError


def experiment(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="An experiment file, such as jobs/experiments/mini-table1.yaml.", show_default=False
        ),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Override a field: --set seeds=[0] --set steps=100. Repeatable."),
    ] = None,
    cell: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only these steps, such as data, ours or '*/seed-0'. Repeatable."),
    ] = None,
    part: Annotated[
        str, typer.Option(metavar="I/N", help="Only the I-th of N parts of the cells: one for each machine.")
    ] = "1/1",
    check: Annotated[
        bool, typer.Option("--check", help="Say what is there and what is missing, and do nothing.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List all steps and which are done, and do nothing.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Print the table of what is done, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table for programs.")] = False,
) -> None:
    """Make the data, fine-tune, measure, and print the table beside the paper's; or go on where that stopped.

    Exit codes: 0 all cells are done; 1 some could not be done, and the table says why; 3 other processes or parts have
    cells to do.
    """
    from factory.experiment.page import write_page
    from factory.experiment.run import chosen_steps, run_experiment
    from factory.experiment.show import print_table, table_json
    from factory.experiment.steps import load_experiment
    from factory.experiment.tables import result_table
    from factory.present.terminal import open_console, say

    console = open_console(stderr=as_json)
    loaded = load_experiment(file, set_ or ())
    steps = chosen_steps(loaded, cell or (), _part(part))
    if check:
        from factory.experiment.check import print_findings

        if not print_findings(console, loaded):
            raise typer.Exit(1)
        return
    if list_:
        for step in steps:
            done = loaded.workspace.result(step.name, step.asked) is not None
            say(console, f"{'done' if done else 'open':<5} {step.name:<32} {step.title}")
        return
    blocked: dict[str, str] = {}
    if not table:
        try:
            with redirect_stdout(sys.stderr) if as_json else nullcontext():  # what steps say is not for programs
                outcome = run_experiment(loaded, steps, partial(say, console))
        except KeyboardInterrupt:
            say(console, f"\nStopped. What is done is kept in {loaded.workspace.root}; the same command goes on there.")
            raise typer.Exit(1) from None
        blocked = outcome.blocked
    result = result_table(loaded, blocked)
    page = write_page(loaded, result)
    if as_json:
        print(json.dumps(table_json(result), indent=2))
    else:
        print_table(console, result)
    say(console, f"Look at it: {page.absolute().as_uri()}")
    computed, planned = result.cells
    if blocked:
        raise typer.Exit(1)
    if not table and computed < planned:
        raise typer.Exit(3)


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--part {text}: write it as --part 1/4 ... --part 4/4")
    return int(match[1]), int(match[2])

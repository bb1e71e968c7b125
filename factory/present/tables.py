"""Tables for `factory plan` and `factory status`."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import Plan, template_fields
from factory.present.estimate import seconds
from factory.present.terminal import say, shown
from factory.present.words import duration, error_lines, size, state_counts

if TYPE_CHECKING:
    from factory.engine.place import Node
    from factory.store.failed import ErrorCount
    from factory.store.status import Status

STYLE = {"ok": "green", "rejected": "yellow", "failed": "red", "pending": "dim"}


def show_plan(console: Console, job: JobSpec, plan: Plan, prompts: int = 5) -> None:
    """Print what a job will make. prompts: records of which source and prompt are shown, at most."""
    time, basis = seconds(job)
    templates = [job.prompts.template] if isinstance(job.prompts.template, str) else job.prompts.template
    fields = [[getattr(job.prompts, name) for name in template_fields(template)] for template in templates]
    combinations = sum(prod(max(len(words), 1) for words in lists) for lists in fields)
    rows = {
        "output": escape(job.output),
        "records": f"{plan.records:,}",
        "units": f"{plan.units:,} of up to {job.unit_size}",
        "shards": f"{plan.shards:,} of up to {job.samples_per_shard:,}",
        "prompts": f"{combinations:,} different" if job.prompts.template else "none",
        "storage": f"about {size(plan.bytes)} if no record is rejected",
        "time": f"about {duration(time)} ({basis})" if time is not None else f"unknown ({basis})",
    }
    console.print(_table(rows, job.name))
    try:
        records = [plan.record(i) for i in range(min(prompts, plan.records))]
        if job.images or job.poses:
            found = [f"{len(plan.listing):,} found", *plan.listing.notes]
            found += [f"left out: {line}" for line in plan.listing.left_out.lines()]
            console.print(_table({"images" if job.images else "poses": escape("\n".join(found))}))
    except UserError as error:  # the images may be on another machine
        return console.print(f"[yellow]not yet:[/] {escape(shown(str(error)))}", highlight=False)
    console.print(f"[dim]first {'records' if job.images or job.poses else 'prompts'}[/]")
    rows = {f"  {record.key}": escape(f"{record.source}  {record.prompt}".strip()) for record in records}
    console.print(_table(rows))


def show_placement(console: Console, nodes: list[Node]) -> None:
    """Print which workers are placed on each node of a cluster, and what is left free there."""
    table = Table(title="placement", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("node", "workers", "GPUs left", "CPUs left"):
        table.add_column(name, header_style="dim")
    for node in nodes:
        workers = ", ".join(f"{count} {stage}" for stage, count in node.actors.items()) or "-"
        gpus = " ".join(f"{share:.2g}" for share in node.gpus) or "-"
        table.add_row(escape(shown(node.name)), workers, gpus, f"{node.cpus:g}")
    console.print(table)


def show_status(console: Console, status: Status, faults: Sequence[ErrorCount]) -> None:
    """Print how far a data set is. faults: the errors of its failed records."""
    counts = state_counts(status.states, status.planned)
    done = status.planned - counts["pending"]
    rows = {"records": f"{done:,} of {status.planned:,} done"}
    rows |= {f"  {state}": f"[{STYLE[state]}]{count:,}[/]" for state, count in counts.items() if count or state == "ok"}
    reasons = sorted(status.reasons.items(), key=lambda item: -item[1])
    rows |= {f"    {escape(reason)}": f"{count:,}" for reason, count in reasons}
    rows |= {
        "units": f"{status.units_done:,} of {status.units_planned:,}",
        "shards": f"{status.shards_sealed:,} of {status.shards_planned:,} sealed",
        "storage": size(status.bytes),
        "run": " ".join(_run(status)),
    }
    console.print(_table(rows, status.name))
    if faults:
        console.print("[dim]why records failed[/]")
        for line in error_lines(faults):
            say(console, f"  {line}")


def _run(status: Status) -> Iterator[str]:
    if status.live:
        here = " (this machine)" if status.live.host == socket.gethostname() else ""
        yield f"[green]live[/]: {status.live}{here}"
    elif status.complete:
        yield "complete"
    else:
        yield "not running; `factory run JOB` goes on where it stopped"


def _table(rows: dict[str, str], title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows.items():
        table.add_row(shown(name), shown(value))
    return table

"""Tables for `factory plan` and `factory status`."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from factory.job import JobSpec
from factory.plan import Plan
from factory.present.estimate import seconds
from factory.present.words import duration, size, state_counts
from factory.store.status import Status

STYLE = {"ok": "green", "rejected": "yellow", "failed": "red", "pending": "dim"}


def show_plan(console: Console, job: JobSpec, plan: Plan, prompts: int = 5) -> None:
    time, basis = seconds(job)
    combinations = 1
    for name in type(job.prompts).model_fields:
        if f"{{{name}}}" in job.prompts.template:
            combinations *= len(getattr(job.prompts, name))
    rows = {
        "output": job.output,
        "records": f"{plan.records:,}",
        "units": f"{plan.units:,} of up to {job.unit_size}",
        "shards": f"{plan.shards:,} of up to {job.samples_per_shard:,}",
        "prompts": f"{combinations:,} different",
        "storage": f"about {size(plan.bytes)} if no record is rejected",
        "time": f"about {duration(time)} ({basis})" if time is not None else f"unknown ({basis})",
    }
    console.print(_table(rows, job.name))
    console.print("[dim]first prompts[/]")
    for i in range(min(prompts, plan.records)):
        record = plan.record(i)
        console.print(f"  {record.key}  {record.prompt}", markup=False, highlight=False)


def show_status(console: Console, status: Status) -> None:
    counts = state_counts(status.states, status.planned)
    done = status.planned - counts["pending"]
    rows = {"records": f"{done:,} of {status.planned:,} done"}
    rows |= {f"  {state}": f"[{STYLE[state]}]{count:,}[/]" for state, count in counts.items() if count or state == "ok"}
    reasons = sorted(status.reasons.items(), key=lambda item: -item[1])
    rows |= {f"    {reason}": f"{count:,}" for reason, count in reasons}
    rows |= {
        "units": f"{status.units_done:,} of {status.units_planned:,}",
        "shards": f"{status.shards_sealed:,} of {status.shards_planned:,} sealed",
        "storage": size(status.bytes),
        "run": " ".join(_run(status)),
    }
    console.print(_table(rows, status.name))


def _run(status: Status) -> Iterator[str]:
    if status.live:
        here = " (this machine)" if status.live.host == socket.gethostname() else ""
        yield f"[green]live[/]: process {status.live.pid} on {status.live.host}{here}"
    elif status.complete:
        yield "complete"
    else:
        yield "not running; `factory run JOB` goes on where it stopped"


def _table(rows: dict[str, str], title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, value)
    return table

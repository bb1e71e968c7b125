"""The command `factory`. Every verb imports what it needs itself, so that help answers at once."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factory.errors import UserError
from factory.evaluate.cli import app as evaluate
from factory.experiment.cli import experiment
from factory.export.formats import FORMATS
from factory.finetune.cli import finetune
from factory.present.terminal import StandardOutput, open_console, say, shown
from factory.starter.cli import starter

if TYPE_CHECKING:
    from factory.plan import Plan

app = typer.Typer(
    help="Make data sets of people in hard poses, with the bodies that fit them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(starter, name="starter")
app.add_typer(evaluate, name="evaluate")
app.add_typer(finetune, name="finetune")
app.command()(experiment)
Job = Annotated[Path, typer.Argument(metavar="JOB", help="A job file, such as jobs/demo.yaml.", show_default=False)]
Out = Annotated[str, typer.Argument(metavar="OUT", help="A data set: the job's output.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a field: --set stages.refine.strength=0.6. Repeatable."),
]
EXPORT_FORMATS = "|".join(FORMATS)
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def plan(job: Job, set_: Set = None) -> None:
    """Say what a job would make: records, shards, size, time, prompts; and on a cluster, which worker sits where."""
    from factory.config import load_job
    from factory.doctor.cut_prompts import cut_prompts
    from factory.plan import plan as make_plan
    from factory.present.tables import show_placement, show_plan

    console, planned = open_console(), make_plan(load_job(job, set_ or ()))
    show_plan(console, planned.job, planned)
    for field, says in cut_prompts(planned):
        say(console, f"{field}: {says}")
    try:
        _look_at_output(planned)
    except UserError as error:
        say(console, f"not yet: {error}")
    if planned.job.engine == "ray" and planned.job.ray_address:
        from factory.engine.run import default_stages
        from factory.engine.session import session

        with session(planned.job, default_stages(planned.job)) as nodes:
            show_placement(console, nodes)


def _look_at_output(planned: Plan) -> None:
    """UserError where the job must not write to the folder that is its output. A plan asks no network, so not where it
    is a bucket."""
    from factory.store.disk import expanded

    if "://" not in planned.job.output and os.path.lexists(expanded(planned.job.output)):
        from factory.store.ledger import require_writable  # takes longer to import than all else of a plan

        require_writable(planned.job, planned)


@app.command()
def run(job: Job, set_: Set = None) -> None:
    """Make the data set, or go on where an earlier run stopped."""
    from factory.config import load_job
    from factory.doctor.models import require_models
    from factory.plan import plan as make_plan
    from factory.present.card import write_card
    from factory.present.progress import RunProgress
    from factory.present.words import counts, duration, error_lines

    console = open_console()
    planned = make_plan(load_job(job, set_ or ()))
    spec = planned.job
    if not spec.ray_address:  # on a cluster the models lie on its nodes
        require_models(spec)
    from factory.engine.run import run_job

    try:
        with RunProgress(console) as progress:
            summary = run_job(planned, on_event=progress)
    except KeyboardInterrupt:
        say(console, f"\nStopped. What was finished is kept in {spec.output}; the same command goes on from there.")
        raise typer.Exit(1) from None
    from factory.store.dataset import open_data

    words = counts(summary.states, summary.reasons)
    data = open_data(spec.output, keep=True)
    write_card(data)
    if not summary.units_done:
        say(console, f"Nothing to do: {spec.output} is complete. {summary.planned:,} records: {words}.")
    else:
        shards = f"{summary.shards} shard{'s' * (summary.shards != 1)}"
        say(console, f"Done in {duration(summary.seconds)}: {summary.planned:,} records in {shards}: {words}.")
        say(console, f"Look at it: factory inspect {spec.output}")
    if summary.states.get("failed"):
        from factory.store.failed import count_errors

        for line in error_lines(count_errors(data.rows)):
            say(console, f"Failed: {line}")
    if not summary.states.get("ok"):  # a script must see that there is nothing to train on
        say(console, f"Not one of {summary.planned:,} records could be used; why: factory status {spec.output}")
        raise typer.Exit(1)


@app.command()
def launch(
    job: Job,
    address: Annotated[str, typer.Option(metavar="URL", help="The cluster's dashboard, such as http://HEAD:8265.")],
    set_: Set = None,
) -> None:
    """Run the job on a cluster, and show its log here."""
    from factory.config import load_job
    from factory.engine.launch import launch as submit
    from factory.plan import plan as make_plan

    console = open_console()
    spec = load_job(job, set_ or ())
    make_plan(spec)
    code = submit(spec, address, partial(say, console), partial(print, end="", flush=True))
    if code:
        raise typer.Exit(code)


@app.command()
def status(out: Out, as_json: AsJson = False) -> None:
    """Say how far a data set is, from storage alone."""
    from dataclasses import asdict

    from factory.present.tables import show_status
    from factory.store.dataset import open_data
    from factory.store.failed import count_errors
    from factory.store.status import status as read_status

    data = open_data(out, keep=True)
    state = read_status(data)
    errors = count_errors(data.rows) if state.states.get("failed") else []
    if as_json:
        content = {**asdict(state), "complete": state.complete, "faults": [asdict(error) for error in errors]}
        print(json.dumps(content, indent=2, default=str))
    else:
        show_status(open_console(), state, errors)


@app.command()
def inspect(
    out: Out,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many samples, evenly spread.")] = 48,
    to: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write there instead: a folder, or an .html file.")
    ] = None,
) -> None:
    """Write OUT/report.html: what the data set looks like."""
    from factory.present.report import write_report
    from factory.store.dataset import open_data

    address, written = write_report(open_data(out, keep=True), limit, to)
    say(open_console(), f"{'Report' if written else 'The report is up to date'}: {address}")


@app.command()
def stats(
    out: Out,
    other: Annotated[str | None, typer.Argument(metavar="[OTHER]", help="Another one, to compare.")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help='Count what fits: --where "score > 30 and oks > 0.7".')
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count states and reasons, poses and people, and say how scores and label fidelity are spread."""
    from dataclasses import asdict

    from factory.present.stats import collect, show_stats
    from factory.store.dataset import open_data

    figures = [collect(open_data(each), where) for each in (out, other) if each is not None]
    if as_json:
        print(json.dumps([asdict(each) for each in figures], indent=2))
    else:
        show_stats(open_console(), figures)


@app.command()
def verify(
    out: Out,
    repair: Annotated[bool, typer.Option("--repair", help="Take away what is broken; a run makes it anew.")] = False,
) -> None:
    """Check every shard against its index, byte by byte, and the whole against the plan.

    Exit codes: 0 sound and complete; 1 something is broken or does not belong there; 2 it cannot be looked at; 3 sound
    as far as it goes (with --repair: what was broken is gone), but `factory run` has more to make.
    """
    from factory.present.words import size
    from factory.store import verify as checks

    console = open_console()
    report = checks.repair(out, partial(say, console)) if repair else checks.verify(out)
    for line in report.notes + report.problems:
        say(console, line)
    shards = f"{report.shards:,} shard{'s' * (report.shards != 1)}"
    words = f"{shards}, {report.samples:,} samples, {size(report.bytes)}"
    if report.problems:
        say(console, f"{len(report.problems)} problem{'s' * (len(report.problems) != 1)} in {words}.")
        if not repair or report.strays:
            raise typer.Exit(1)
        say(console, "What was broken is taken away; `factory run JOB` makes it anew.")
        raise typer.Exit(3)
    say(console, f"Sound: {words}{'' if report.complete else '; the run is not finished'}.")
    if not report.complete:
        raise typer.Exit(3)


@app.command()
def retry(
    out: Out,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Only those whose stage or error holds this text.")] = "",
) -> None:
    """Open failed records again, for the next run; rejected ones stay.

    A record is made anew with its unit; the unit's other records come out as they were, because they follow from
    their seeds.
    """
    from factory.store.reopen import retry as reopen

    console = open_console()
    done = reopen(out, reason, partial(say, console))
    if not done.records:
        say(console, f"Nothing to open: {done.failed:,} failed records{', none of them fits' if done.failed else ''}.")
        return
    say(console, f"{done.records:,} of {done.failed:,} failed records are open again, in {done.units:,} units.")
    say(console, "`factory run JOB` makes them.")


@app.command()
def export(
    out: Out,
    format_: Annotated[str, typer.Option("--format", metavar=EXPORT_FORMATS, help="The trainer that shall read it.")],
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="The folder to write; made where there is none.")],
    split: Annotated[str, typer.Option(metavar="NAME=SHARE,...", help="Such as train=0.95,val=0.05.")] = "train=1",
    where: Annotated[str | None, typer.Option(help="Only these, such as 'score > 30 and people = 1' (SQL).")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that write.")] = 1,
) -> None:
    """Write the data set as a trainer reads it, or go on where an earlier export stopped."""
    from factory.export.progress import ExportProgress
    from factory.export.run import export as run_export

    console = open_console()
    try:
        with ExportProgress(console) as progress:
            summary = run_export(out, to, format_, split, where, workers, progress)
    except KeyboardInterrupt:
        say(console, f"\nStopped. What was written is kept in {to}; the same command goes on from there.")
        raise typer.Exit(1) from None
    parts = (f"{name} {count:,} images, {summary.people[name]:,} people" for name, count in summary.images.items())
    say(console, f"{'Done' if summary.done else f'Nothing to do: {to} is complete'}: {'; '.join(parts)}.")
    if summary.unsealed:
        shards = "1 shard was" if summary.unsealed == 1 else f"{summary.unsealed:,} shards were"
        say(console, f"{shards} not sealed yet, so not in it: the data set is unfinished.")
    say(console, f"How to train on it: {to}/README.md")


@app.command()
def validate(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="An export, ours or anybody's.", show_default=False)],
    format_: Annotated[str, typer.Option("--format", metavar=EXPORT_FORMATS, help="The trainer that shall read it.")],
) -> None:
    """Check a folder against what a trainer's loader demands, field by field."""
    from factory.export.validate import validate as check

    console, count = open_console(), 0
    for count, problem in enumerate(check(folder, format_), 1):  # noqa: B007
        say(console, problem)
    if count:
        say(console, f"{count:,} problem{'s' * (count != 1)}.")
        raise typer.Exit(1)
    say(console, f"Sound: {folder} is what {format_} reads.")


@app.command()
def doctor(
    job: Annotated[Path | None, typer.Argument(metavar="[JOB]", help="Also check what it needs.")] = None,
    set_: Set = None,
    evaluation: Annotated[
        bool, typer.Option("--evaluation", help="Also look for the weights that `factory evaluate` can use.")
    ] = False,
) -> None:
    """Check this machine and a job's models, and say where to get them."""
    from itertools import chain

    from rich.markup import escape

    from factory.config import load_job
    from factory.doctor.checks import checks
    from factory.doctor.evaluation import evaluation_weights

    console, sound, spec = open_console(), True, load_job(job, set_ or ()) if job else None
    marks = {"ok": "[green]ok[/]  ", "fault": "[red]no[/]  ", "note": "[yellow]-[/]   "}
    for finding in chain(checks(spec), evaluation_weights(spec) if evaluation else ()):
        sound &= not finding.fault
        name = f"[bold]{finding.name:<{30 if job else 20 if evaluation else 16}}[/]"
        console.print(f"{marks[finding.level]}{name}  {escape(shown(finding.says))}", highlight=False, soft_wrap=True)
    if not sound:
        raise typer.Exit(1)


@app.command()
def schema(
    name: Annotated[str, typer.Argument(metavar="[job|experiment|sample]", help="Which one.")] = "job",
    write: Annotated[Path | None, typer.Option(metavar="DIR", help="Write all there as NAME.schema.json.")] = None,
) -> None:
    """Print the JSON Schema of job files, of experiment files or of samples."""
    from factory.schema import texts, write_schema

    if write:
        for path in write_schema(write):
            print(path)
        return
    schemas = texts()
    if name not in schemas:
        *others, last = schemas
        raise UserError(f"schema {name}: there are {', '.join(others)} and {last}")
    print(schemas[name], end="")


def main() -> None:
    """Entry point: 0 for success, 2 for what the user can mend, 1 for anything else."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its import advises to install torchvision: not needed
    sys.stdout = stdout = StandardOutput(sys.stdout)
    try:
        app()
    except UserError as error:
        print(f"error: {shown(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        stdout.flush()
        lost = stdout.lost
        if end.code or lost is None or isinstance(lost, BrokenPipeError):  # the reader of a pipe may have seen enough
            raise
        print(f"error: done, but standard output cannot be written ({lost.strerror})", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

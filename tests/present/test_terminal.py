"""What stands on standard output, whatever stands behind it: the real command, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from factory import config
from factory.plan import plan
from factory.present.terminal import shown
from factory.store.ledger import open_ledger
from factory.store.part import pack
from tests.support import small
from tests.support.command import ROOT, Run


@pytest.fixture
def out(values: dict) -> str:
    """A data set of 8 records: one ok, one rejected, six failed of two causes."""
    job = config.validate({**values, "records": 8, "image_size": 64})
    planned = plan(job)
    with open_ledger(job, planned) as ledger:
        for shard, index in list(ledger.missing()):
            unit = planned.unit(shard, index)
            for record in unit.records:
                number = int(record.key[-8:])
                if number == 0:
                    small.fill(record, 64)
                elif number == 1:
                    record.reject(small.Reason.NO_PERSON, "estimate")
                elif number == 2:
                    record.fail(ValueError("no depth \x1b[2J"), "refine")
                else:
                    record.fail(RuntimeError(f"row {number} of 0x{number:08x} is not finite"), "estimate")
            ledger.commit(shard, index, pack(unit, job))
            ledger.seal(shard)
    return job.output


def run(
    *arguments: str, program: str = "factory.cli", redirect: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m {program} {' '.join(arguments)} {redirect}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FORCE_", "NO_COLOR"))}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**clean, **environment},
    )


@pytest.mark.parametrize("verb", ["status", "stats"])
def test_why_records_failed_is_told_with_counts_and_an_example(out, factory: Run, verb):
    shown = factory(verb, out).stdout
    assert "5 x estimate: RuntimeError: row 3 of 0x00000003 is not finite (such as small-00000003)" in shown
    assert "1 x refine: ValueError: no depth" in shown


def test_programs_are_told_why_records_failed(out, factory: Run):
    faults = json.loads(factory("status", out, "--json").stdout)["faults"]
    assert [(fault["stage"], fault["count"], fault["key"]) for fault in faults] == [
        ("estimate", 5, "small-00000003"), ("refine", 1, "small-00000002"),
    ]  # fmt: skip
    assert json.loads(factory("stats", out, "--json").stdout)[0]["faults"] == faults


@pytest.mark.parametrize("verb", ["status", "stats"])
def test_what_an_error_holds_does_not_reach_the_terminal_as_a_command(out, verb):
    result = run(verb, out)
    assert "\x1b" not in result.stdout and "no depth \\x1b[2J" in result.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_of_few_characters_gets_plain_bars(out, encoding):
    result = run("stats", out, PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert "@" in next(line for line in result.stdout.splitlines() if line.startswith("pose_score"))


def test_a_plan_of_any_prompt_is_printed_in_ascii(job_file: Path):
    text = job_file.read_text().replace("- walking", '- "\u6b69\u304f \\e[31m"')
    job_file.write_text(text, encoding="utf-8")
    result = run("plan", str(job_file), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.returncode == 0, result.stderr
    assert "\\u6b69\\u304f \\x1b[31m" in result.stdout and "\x1b" not in result.stdout


def test_a_full_output_is_told_in_one_line(out):
    result = run("stats", out, redirect="> /dev/full")
    assert result.returncode == 1
    assert result.stderr == "error: done, but standard output cannot be written (No space left on device)\n"


def test_a_reader_that_has_seen_enough_is_no_error(out):
    result = run("stats", out, redirect="| head -1")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_closed_output_is_no_error(out):
    result = run("status", out, redirect=">&-")
    assert result.returncode == 0 and "Traceback" not in result.stderr


def test_forced_colours_fill_no_log_with_bars(out):
    result = run("status", out, FORCE_COLOR="1")
    assert "\x1b[31m" in result.stdout  # the count of failed records, in red
    bars = "from factory.present.progress import Live; from factory.present.terminal import open_console\n"
    bars += "with Live(open_console()) as live: live.bar.add_task('moving', total=2); live.bar.refresh()"
    moved = subprocess.run(
        [sys.executable, "-c", bars], capture_output=True, text=True, env={**os.environ, "FORCE_COLOR": "1"}
    )
    assert (moved.stdout, moved.stderr, moved.returncode) == ("", "", 0)


@pytest.mark.heavy(4)
@pytest.mark.parametrize("redirect", ["> /dev/full", "| head -1"])
def test_a_run_outlives_its_output(job_file: Path, values: dict, factory: Run, redirect):
    result = run("run", str(job_file), program="tests.support.seeded_command", redirect=redirect)
    assert "Traceback" not in result.stderr
    assert json.loads(factory("status", values["output"], "--json").stdout)["complete"]


def test_every_character_that_a_terminal_obeys_is_shown():
    assert shown("a\x1b]0;t\x07\x9b\u202e\udce9 b\tc\nd\u00e9") == "a\\x1b]0;t\\x07\\x9b\\u202e\\udce9 b\tc\nd\u00e9"

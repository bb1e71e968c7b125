"""The README promises commands and files: they must exist as written."""

import re
import shlex

import pytest
import typer.main

from factory.cli import app
from tests.support.command import ROOT, Run

TEXT = (ROOT / "README.md").read_text()
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
INNER = [line for line in SHELL for line in re.findall(r"'([^']*)'", line) or [line]]  # what ray exec runs there
FACTORY = [match for line in INNER for match in re.findall(r"((?:\.venv/bin/)?factory [a-z]+ [^#&]*)", line + " ")]


def test_the_two_commands_come_first() -> None:
    assert SHELL[0].startswith("make demo")
    assert SHELL[1].startswith("make test")


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("make ")])
def test_make_targets_exist(line: str) -> None:
    target = line.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("line", FACTORY)
def test_commands_parse_and_their_overrides_fit(line: str) -> None:
    from factory import config

    _, verb, *arguments = shlex.split(line)
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    parsed = command.make_context(verb, arguments).params
    if "job" in parsed:
        config.load_job(ROOT / parsed["job"], parsed["set_"] or ())


def test_every_verb_is_in_the_reference() -> None:
    for verb in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f"`factory {verb}" in TEXT


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:jobs|schemas)/[\w./-]*\w|\bcluster\.yaml", TEXT))))
def test_named_files_exist(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", re.findall(r"!\[[^]]*\]\((?!http)([^)]+)\)", TEXT) or [None])
def test_pictures_exist(path: str | None) -> None:
    assert path is None or (ROOT / path).is_file()


def test_plan_of_the_demo_runs(command: Run) -> None:
    assert command("plan", ROOT / "jobs" / "demo.yaml").returncode == 0

"""The command line of a training follows from its dataclass of options."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, get_type_hints

import pytest
import typer
from click.testing import CliRunner

from factory.cli import app
from factory.errors import UserError
from factory.starter.train.options import StarterOptions
from factory.training.flags import from_fields
from factory.training.options import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class Toy(TrainingOptions):
    """Options of a toy training."""

    colour: Annotated[str, typer.Option(help="Which colour it learns.")] = "red"


def run(*arguments: str) -> tuple[Toy | None, str]:
    """What the toy's command was given, and what it printed."""
    given: list[Toy] = []
    toy = typer.Typer(rich_markup_mode=None, add_completion=False)

    @toy.command()
    @from_fields
    def train(options: Toy) -> None:
        """Train the toy."""
        given.append(options)

    result = CliRunner().invoke(typer.main.get_command(toy), arguments, terminal_width=300)
    return (given[0] if given else None), result.output


def test_each_field_is_a_flag_with_its_own_help():
    _, output = run("--help")
    assert "Train the toy." in output
    for field in fields(Toy):
        [option] = get_type_hints(Toy, include_extras=True)[field.name].__metadata__
        assert f"--{field.name.replace('_', '-')} " in output and option.help.split(",")[0] in output


def test_flags_reach_the_training_as_typed_values():
    options, _ = run("--out", "a", "--export", "b", "--steps", "3", "--rate", "3e-4", "--full-precision")
    assert options == Toy(out=Path("a"), export=Path("b"), steps=3, rate=3e-4, full_precision=True)
    assert options.batch is None and options.every == 500 and options.colour == "red"


def test_a_flag_that_has_no_default_is_asked_for():
    options, output = run("--out", "a")
    assert options is None and "--export" in output


def test_the_starters_own_help_names_every_option():
    command = typer.main.get_command(app).commands["starter"].commands["train"]
    assert [parameter.name for parameter in command.params] == [field.name for field in fields(StarterOptions)]
    assert all(parameter.help for parameter in command.params)
    assert StarterOptions().out == Path("out/starter/train")  # each of its options has a default


@pytest.mark.parametrize("values", [{"minutes": 0.0}, {"minutes": -3.0}, {"rate": 0.0}, {"rate": float("nan")}])
def test_a_budget_or_a_rate_of_nothing_is_refused(values):
    [name] = values
    with pytest.raises(UserError, match=f"--{name} .*above 0"):
        replace(StarterOptions(), **values)


def test_what_trainings_share_knows_nothing_of_the_starter():
    program = (
        "import pkgutil, sys, importlib, factory.training as room\n"
        "for module in pkgutil.iter_modules(room.__path__, 'factory.training.'): importlib.import_module(module.name)\n"
        "print([name for name in sys.modules if name.startswith('factory.starter')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_loads_no_pytorch():
    program = "import sys, factory.cli; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"

"""`factory starter`: the commands that a newcomer types, on a tiny budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer.main
from PIL import Image

from factory.cli import app
from factory.errors import UserError
from factory.starter import cache
from factory.starter.pack import WEIGHTS
from factory.starter.train.run import Options, arguments, run
from tests.support.command import Run


def test_the_commands_are_there():
    assert {"train", "evaluate", "sheet"} == set(typer.main.get_command(app).commands["starter"].commands)


def test_a_model_is_trained_from_the_command_line(command: Run, tmp_path):
    options = ["--steps", 2, "--batch", 2, "--threads", 1, "--out", tmp_path / "runs", "--export", tmp_path / "pack"]
    done = command("starter", "train", "vposer", "--start", *options)
    assert done.returncode == 0, done.stderr
    assert "vposer  step 2  100%" in done.stdout and "\x1b" not in done.stdout
    assert list((tmp_path / "pack" / "vposer" / "snapshots").glob("*.pt"))
    assert Image.open(tmp_path / "runs" / "vposer" / "samples.png").format == "PNG"


def test_the_figures_are_printed_and_stored(factory: Run, tmp_path):
    done = factory("starter", "evaluate", "--part", "size", "--json", "--out", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown == json.loads((tmp_path / "figures.json").read_text())
    assert {"value", "goal", "n", "reached"} <= shown["rows"][0].keys() and shown["all_reached"] is None


def test_strangers_are_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="there are vae"):
        run(["resnet"], Options(tmp_path, tmp_path, tmp_path))
    cache.build(tmp_path, cache.HELD_OUT, 1)
    with pytest.raises(UserError, match="figures are measured on"):
        run(["hmr"], Options(tmp_path, tmp_path, tmp_path))


def test_diffusion_takes_the_autoencoder_trained_before_it(tmp_path):
    """Else the pack's; and `--start` names the pack's part."""
    options = Options(Path("c"), tmp_path, Path("e"), start=True, minutes=3, rate=3e-4)
    given = arguments("diffusion", options)
    assert given[given.index("--vae") + 1] == str(WEIGHTS / "text-to-image" / "vae")
    assert given[given.index("--start") + 1] == str(WEIGHTS) and given[given.index("--minutes") + 1] == "3"
    assert given[given.index("--rate") + 1] == "0.0003"
    (tmp_path / "vae" / "model").mkdir(parents=True)
    given = arguments("diffusion", options)
    assert given[given.index("--vae") + 1] == str(tmp_path / "vae" / "model")

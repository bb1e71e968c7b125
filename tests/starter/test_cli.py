"""`factory starter`: the commands that a newcomer types, on a tiny budget."""

from __future__ import annotations

import json

import pytest
import typer.main
from PIL import Image

from factory.cli import app
from factory.errors import UserError
from factory.starter.train.options import StarterOptions
from factory.starter.train.run import autoencoder, diffusion_models, train_models
from factory.starter.world import cache
from factory.weights.locate import WEIGHTS
from tests.support.command import Run, refused


def test_the_commands_are_there():
    assert {"train", "evaluate", "sheet", "domain"} == set(typer.main.get_command(app).commands["starter"].commands)


def test_a_model_is_trained_from_the_command_line(command: Run, tmp_path):
    options = ["--steps", 2, "--batch", 2, "--threads", 1, "--out", tmp_path / "runs", "--export", tmp_path / "pack"]
    done = command("starter", "train", "vae", "--start", "--scenes", 2, "--cache", tmp_path / "scenes", *options)
    assert done.returncode == 0, done.stderr
    assert "vae  step 2  100%" in done.stdout and "\x1b" not in done.stdout
    assert list((tmp_path / "runs" / "vae" / "model").glob("*.safetensors"))
    assert Image.open(tmp_path / "runs" / "vae" / "samples.png").format == "PNG"


def test_the_figures_are_printed_and_stored(factory: Run, tmp_path):
    done = factory("starter", "evaluate", "--part", "size", "--json", "--out", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown == json.loads((tmp_path / "figures.json").read_text())
    assert {"value", "goal", "n", "reached"} <= shown["rows"][0].keys() and shown["all_reached"] is None


def test_unknown_models_and_held_out_scenes_are_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="there are vae"):
        train_models(StarterOptions(models=["resnet"], cache=tmp_path, out=tmp_path, export=tmp_path))
    cache.build(tmp_path, cache.HELD_OUT, 1)
    with pytest.raises(UserError, match="figures are measured on"):
        train_models(StarterOptions(models=["hmr"], cache=tmp_path, out=tmp_path, export=tmp_path))


def test_a_rate_of_nothing_is_refused_by_the_command(command: Run):
    refused(command("starter", "train", "vposer", "--rate", 0), "--rate 0", "above 0")


def test_later_models_take_the_ones_trained_before_them(tmp_path):
    """Else those of the pack."""
    options = StarterOptions(out=tmp_path / "runs", export=tmp_path / "pack")
    assert autoencoder(options) == WEIGHTS / "text-to-image" / "vae" and diffusion_models(options) == WEIGHTS
    (tmp_path / "runs" / "vae" / "model").mkdir(parents=True)
    assert autoencoder(options) == tmp_path / "runs" / "vae" / "model"
    (tmp_path / "pack" / "depth-to-image").mkdir(parents=True)
    assert diffusion_models(options) == tmp_path / "pack"

"""The loop that every training runs in: budget, checkpoint, pictures and progress."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from factory.errors import UserError
from factory.training.average import EMA
from factory.training.checkpoint import Checkpoint
from factory.training.learner import Descent, Learner
from factory.training.loop import fit
from factory.training.options import TrainingOptions
from factory.training.progress import TrainingProgress


class Killed(Exception):
    pass


def options(folder: Path, **values: float) -> TrainingOptions:
    return TrainingOptions(out=folder, export=folder / "model", **{"steps": 3, "every": 1, **values})


def no_picture() -> np.ndarray:
    return np.zeros((1, 1, 3), np.uint8)


def line_learner() -> Learner:
    """Fits y = 2 x; the same at each call."""
    torch.manual_seed(0)
    line = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(line.parameters(), lr=0.1)

    def terms(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"error": (line(batch["x"]) - 2 * batch["x"]).square().mean()}

    descent = Descent(terms, optimizer, list(line.parameters()), limit=1.0)
    return Learner(line, descent, rate=0.1, warmup=1, average=EMA(line, 0.9))


def test_a_network_learns_and_its_average_follows(tmp_path):
    learner, errors = line_learner(), []
    batch = {"x": torch.linspace(-1, 1, 9)[:, None]}

    def step(index: int, fraction: float) -> dict:
        values = learner.step(index, fraction, batch)
        errors.append(float(values["error"]))
        return values

    assert fit("line", options(tmp_path, steps=200, every=100), step, learner.parts, lambda: None, no_picture) == 200
    assert errors[-1] < 0.01 * errors[0]
    averaged = learner.average.model.weight
    assert abs(float(averaged) - learner.network.weight.item()) < 0.05 and not torch.equal(averaged, torch.zeros(1, 1))


def test_a_gradient_is_no_longer_than_its_limit():
    learner = line_learner()
    learner.descent.terms = lambda batch: {"huge": 1e6 * learner.network.weight.sum()}
    before = learner.network.weight.item()
    learner.step(0, 0.0, {})
    assert abs(learner.network.weight.item() - before) == pytest.approx(0.1, rel=1e-3)


def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    batch = {"x": torch.linspace(-1, 1, 9)[:, None]}

    def train(folder: Path, last: int) -> Learner:
        learner = line_learner()

        def step(index: int, fraction: float) -> dict:
            if index == last:
                raise Killed
            return learner.step(index, fraction, {"x": batch["x"] + torch.rand(9, 1)})

        fit("line", options(folder, steps=7, every=2), step, learner.parts, lambda: None, no_picture)
        return learner

    whole = train(tmp_path / "whole", 99)
    with pytest.raises(Killed):
        train(tmp_path / "killed", 5)
    resumed = train(tmp_path / "killed", 99)
    for name, value in whole.average.model.state_dict().items():
        assert torch.equal(value, resumed.average.model.state_dict()[name])
    assert torch.equal(whole.network.weight, resumed.network.weight)


def test_a_checkpoint_survives_a_kill_while_it_is_written(tmp_path, monkeypatch):
    model = torch.nn.Linear(2, 2)
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(3, model=model)
    before = model.weight.detach().clone()

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", killed)
    with torch.no_grad():
        model.weight.zero_()
    with pytest.raises(Killed):
        checkpoint.save(4, model=model)
    assert checkpoint.load(model=model)[0] == 3
    assert torch.equal(model.weight, before)


def test_the_checkpoint_of_another_training_is_refused(tmp_path):
    Checkpoint(tmp_path).save(3, model=torch.nn.Linear(2, 2))
    for other in ({"model": torch.nn.Linear(3, 3)}, {"model": torch.nn.Linear(2, 2), "average": torch.nn.Linear(1, 1)}):
        with pytest.raises(UserError, match="another training.*remove it or give another --out") as refusal:
            Checkpoint(tmp_path).load(**other)
        assert "\n" not in str(refusal.value)


def test_looking_does_not_change_what_is_learnt(tmp_path):
    """A picture may draw random numbers, or fail."""
    layer = torch.nn.Linear(1, 1)
    drawn = []

    def step(index: int, fraction: float) -> dict:
        drawn.append(torch.rand(1).item())
        return {}

    def picture() -> np.ndarray:
        torch.rand(7)
        raise ValueError("no picture")

    torch.manual_seed(0)
    fit("x", options(tmp_path), step, {"layer": layer}, lambda: None, picture)
    torch.manual_seed(0)
    assert drawn == [torch.rand(1).item() for _ in range(3)]


def test_a_training_without_a_budget_is_refused(tmp_path):
    with pytest.raises(UserError, match="budget"):
        fit("x", options(tmp_path, steps=None), lambda *_: {}, {}, lambda: None, no_picture)


def test_progress_in_a_pipe_is_plain_lines(capsys):
    progress = TrainingProgress("hmr", steps=100, console=Console(file=sys.stdout, width=200))
    progress.interval = 0
    with progress:
        progress.tick(49, 0.5, {"loss": 2.0})
    line = capsys.readouterr().out
    assert line.startswith("hmr  step 50  50%  ") and "steps/s  ETA" in line and line.endswith("loss 2\n")

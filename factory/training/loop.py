"""The loop of every training: resume, step until the budget is spent, keep what was learnt now and then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from factory.errors import UserError
from factory.training.checkpoint import Checkpoint, Stateful
from factory.training.options import TrainingOptions
from factory.training.progress import TrainingProgress


def fit(
    name: str,
    options: TrainingOptions,
    step: Callable[[int, float], dict[str, float | Tensor]],
    parts: dict[str, Stateful],
    export: Callable[[], None],
    picture: Callable[[], np.ndarray],
) -> int:
    """Resume, then call `step(index, fraction)` until the budget is spent; returns the number of steps made in all.

    The budget is options.steps, or options.minutes of training over all resumed runs; `fraction` is the share of it
    that is spent, for the learning rate. Every options.every steps and at the end the `parts` are saved, `export` is
    called, and `picture` of that export is written as samples.png beside the checkpoint.
    """
    steps, minutes, every = options.steps, options.minutes, options.every
    if not steps and not minutes:
        raise UserError("a training needs a budget: give --minutes or --steps")
    checkpoint = Checkpoint(options.out)
    index, seconds = checkpoint.load(**parts)
    start = time.monotonic() - seconds

    def fraction() -> float:
        return min(1.0, index / steps if steps else (time.monotonic() - start) / (60 * (minutes or 0)))

    def keep() -> None:
        checkpoint.save(index, time.monotonic() - start, **parts)
        export()
        with torch.random.fork_rng():  # a picture may draw random numbers, which must not change what is learnt
            draw_samples(picture, checkpoint.path.with_name("samples.png"))

    with TrainingProgress(name, steps, minutes) as progress:
        while fraction() < 1:
            values = step(index, fraction())
            index += 1
            progress.tick(index - 1, fraction(), values)
            if index % every == 0:
                keep()
        if index % every or not index:
            keep()
    return index


def draw_samples(picture: Callable[[], np.ndarray], path: Path) -> None:
    """Write the picture under a temporary name and rename it. A picture that fails is reported, and the training goes
    on."""
    try:
        temporary = path.with_suffix(".tmp")
        Image.fromarray(picture()).save(temporary, "PNG")
        os.replace(temporary, path)
    except Exception as error:
        print(f"{path.name} was not drawn: {type(error).__name__}: {error}", flush=True)

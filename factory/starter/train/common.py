"""What every training script shares: one resumable loop, atomic checkpoints, weight averaging, batches drawn by step.

A batch depends on (seed, step) alone, so a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed_everything(seed: int, threads: int = 0) -> None:
    """Fix torch's random state; threads > 0 also limits the CPU threads of this process."""
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)


def rng(seed: int, step: int) -> np.random.Generator:
    """The generator from which step number `step` draws its batch and augmentation."""
    return np.random.default_rng((seed, step))


def learning_rate(peak: float, step: int, fraction: float, warmup: int = 200, floor: float = 0.02) -> float:
    """Linear warm-up over `warmup` steps, then a cosine down to floor * peak at fraction 1."""
    decay = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))
    return peak * min(1.0, (step + 1) / warmup) * decay


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


class EMA:
    """Exponential moving average of a module's parameters and float buffers; `.model` is the averaged copy."""

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.count = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.count += 1
        weight = 1 - min(self.decay, self.count / (10 + self.count))  # a short memory while young
        averages: list[Tensor] = []
        news: list[Tensor] = []
        for average, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                averages.append(average)
                news.append(new)
            else:
                average.copy_(new)
        torch._foreach_lerp_(averages, news, weight)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.count = state["count"]


class Checkpoint:
    """One file, DIR/checkpoint.pt: step, seconds spent, torch's random state, and the state of each named part."""

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / "checkpoint.pt"

    def save(self, step: int, seconds: float = 0.0, **parts: Any) -> None:
        """Parts have `state_dict()`. Written beside and renamed: a kill leaves the old file or the new, never half."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"step": step, "seconds": seconds, "rng": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda_rng"] = torch.cuda.get_rng_state()
        temporary = self.path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def load(self, **parts: Any) -> tuple[int, float]:
        """Restore the parts in place; returns (next step, seconds spent), or (0, 0.0) where nothing was saved."""
        if not self.path.exists():
            return 0, 0.0
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["rng"])
        if "cuda_rng" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda_rng"])
        return state["step"], state["seconds"]


class Progress:
    """One line now and then: `hmr  step 1200  41 %  3.21 steps/s  ETA 12 min  loss 0.123` (means since the last line)."""

    def __init__(self, name: str, interval: float = 20.0) -> None:
        self.name, self.interval = name, interval
        self.since, self.steps, self.sums = time.monotonic(), 0, dict[str, float]()

    def tick(self, step: int, fraction: float, values: dict[str, float | Tensor]) -> None:
        self.steps += 1
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value)
        elapsed = time.monotonic() - self.since
        if elapsed < self.interval and fraction < 1:
            return
        means = "  ".join(f"{key} {total / self.steps:.4g}" for key, total in self.sums.items())
        left = (step + 1) * (1 - fraction) / max(fraction, 1e-9) * elapsed / self.steps / 60
        rate = self.steps / max(elapsed, 1e-9)
        print(f"{self.name}  step {step + 1}  {fraction:.0%}  {rate:.2f} steps/s  ETA {left:.0f} min  {means}", flush=True)
        self.since, self.steps, self.sums = time.monotonic(), 0, {}


def fit(
    name: str,
    step: Callable[[int, float], dict[str, float | Tensor]],
    checkpoint: Checkpoint,
    parts: dict[str, Any],
    steps: int = 0,
    minutes: float = 0.0,
    every: int = 500,
    export: Callable[[], None] | None = None,
) -> int:
    """Resume, then call `step(index, fraction)` until the budget is spent; returns the number of steps made in all.

    The budget is `steps`, or `minutes` of training over all resumed runs; fraction is how much of it was spent, for the
    learning rate. `parts` (model, optimizer, ema ...) are saved, then exported, every `every` steps and at the end.
    """
    if not steps and not minutes:
        raise ValueError("a budget is needed: steps or minutes")
    index, seconds = checkpoint.load(**parts)
    progress, start = Progress(name), time.monotonic() - seconds

    def fraction() -> float:
        return min(1.0, index / steps if steps else (time.monotonic() - start) / (60 * minutes))

    def keep() -> None:
        checkpoint.save(index, time.monotonic() - start, **parts)
        if export:
            export()

    while fraction() < 1:
        values = step(index, fraction())
        index += 1
        progress.tick(index - 1, fraction(), values)
        if index % every == 0:
            keep()
    if index % every or not index:
        keep()
    return index


def arguments(description: str, out: str, argv: Iterable[str] | None = None, cache: bool = True) -> argparse.Namespace:
    """The command line that the training scripts share."""
    parser = argparse.ArgumentParser(description=description)
    if cache:
        parser.add_argument("--cache", required=True, help="folder of the rendered world's cache")
    parser.add_argument("--out", required=True, help="folder of the checkpoint")
    parser.add_argument("--export", default=out, help="folder that the finished model is written to")
    parser.add_argument("--steps", type=int, default=0, help="budget in steps")
    parser.add_argument("--minutes", type=float, default=0.0, help="budget in minutes, where no steps are given")
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = torch's default")
    return parser.parse_args(list(argv) if argv is not None else None)

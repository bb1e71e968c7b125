"""The learning rate over a training."""

from __future__ import annotations

import math

import torch


def learning_rate(peak: float, step: int, fraction: float, warmup: int = 200, floor: float = 0.02) -> float:
    """The rate of step number `step`: a linear warm-up over `warmup` steps, then a cosine from `peak` to floor * peak.

    fraction: the share of the budget that is spent, 0 ... 1; the cosine ends at 1.
    """
    decay = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))
    return peak * min(1.0, (step + 1) / warmup) * decay


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give all parameter groups of the optimizer this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = value

"""The running average of a network's weights, which is what a training exports."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average of a network's parameters and float buffers; `.model` is the averaged copy.

    Other buffers (counters) are copied as they are.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.count = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights of `model`, which has the parameters of the network averaged."""
        self.count += 1
        # Over the first steps the average forgets faster, or it would hold on to the random weights of the start.
        weight = 1 - min(self.decay, self.count / (10 + self.count))
        averages: list[Tensor] = []
        current: list[Tensor] = []
        for average, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                averages.append(average)
                current.append(new)
            else:
                average.copy_(new)
        torch._foreach_lerp_(averages, current, weight)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint stores: the averaged weights and the number of updates."""
        return {"model": self.model.state_dict(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.count = state["count"]

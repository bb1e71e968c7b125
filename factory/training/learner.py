"""A network that learns: one step of gradient descent, with its learning rate, and the average of its weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from factory.training.average import EMA
from factory.training.checkpoint import Stateful
from factory.training.schedule import learning_rate, set_learning_rate

Batch = dict[str, Tensor]
Terms = Callable[[Batch], dict[str, Tensor]]


class Descent:
    """Steps down the sum of `terms(batch)`, with a gradient of norm `limit` at most.

    With `record`, terms and gradients are recorded at the first step on a CUDA device and replayed from then on, since
    a small network spends its time there on the starting of kernels. `terms` must then do the same whatever the
    values: no branch, no shape and no copy from the host may depend on them. A batch of other shapes is recorded anew.
    """

    def __init__(
        self,
        terms: Terms,
        optimizer: torch.optim.Optimizer,
        parameters: Sequence[Tensor],
        limit: float = math.inf,
        record: bool = True,
    ) -> None:
        self.terms, self.optimizer, self.parameters, self.limit = terms, optimizer, parameters, limit
        self.record = record and torch.cuda.is_available()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.batch: Batch = {}  # what the recorded graph reads
        self.values: dict[str, Tensor] = {}  # what it writes

    def __call__(self, batch: Batch) -> dict[str, float | Tensor]:
        """Make one step; returns the terms, detached."""
        if self.record:
            if self.graph is None or any(self.batch[name].shape != value.shape for name, value in batch.items()):
                self._record(batch)
            for name, value in batch.items():
                self.batch[name].copy_(value)
            self.graph.replay()  # type: ignore[union-attr]  # recorded above
            values = {key: value.clone() for key, value in self.values.items()}
        else:
            self.optimizer.zero_grad(set_to_none=True)
            values = self._gradients(batch)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.limit)
        self.optimizer.step()
        return dict(values)

    def _gradients(self, batch: Batch) -> dict[str, Tensor]:
        values = self.terms(batch)
        torch.stack([*values.values()]).sum().backward()
        return {key: value.detach() for key, value in values.items()}

    def _record(self, batch: Batch) -> None:
        self.batch = {name: value.clone() for name, value in batch.items()}
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # the libraries choose their kernels and allocate their workspaces outside the recording
                self.optimizer.zero_grad(set_to_none=True)
                self._gradients(self.batch)
        torch.cuda.current_stream().wait_stream(aside)
        self.optimizer.zero_grad(set_to_none=True)  # the graph owns the gradients and writes them anew at each replay
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.values = self._gradients(self.batch)


class Learner:
    """A network, the descent that trains it, and the average of its weights.

    rate: peak of the learning rate, reached after `warmup` steps (see `schedule`). average: updated after each step;
    None for a network whose last weights are exported.
    """

    def __init__(
        self,
        network: nn.Module | Stateful,
        descent: Descent,
        rate: float,
        warmup: int = 200,
        average: EMA | None = None,
    ) -> None:
        self.network, self.descent, self.rate, self.warmup, self.average = network, descent, rate, warmup, average

    def step(self, index: int, fraction: float, batch: Batch) -> dict[str, float | Tensor]:
        """Step number `index`, where `fraction` of the budget is spent; returns the terms of the loss, detached."""
        optimizer = self.descent.optimizer
        set_learning_rate(optimizer, learning_rate(self.rate, index, fraction, self.warmup))
        values = self.descent(batch)
        if self.average:
            self.average.update(self.network)
        return values

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint must hold to resume."""
        averaged = {"average": self.average} if self.average else {}
        return {"model": self.network, "optimizer": self.descent.optimizer, **averaged}

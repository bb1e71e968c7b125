"""The curve of a training: the mean of each loss between two measurements, and what was measured."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from factory.errors import UserError

Figures = dict[str, float]


class Curve:
    """The points of a training so far, the best of them, and the losses since the last. It is part of a checkpoint.

    points: one dict each, with `step`, the mean of each term of the loss since the point before, and the figures that
    were measured. The best point is the one with the lowest `criterion`, a figure's name with a minus where more is
    better.
    """

    def __init__(self, criterion: str) -> None:
        self.criterion = criterion
        self.points: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None
        self._sums: dict[str, float | Tensor] = {}
        self._steps = 0

    def count(self, terms: dict[str, float | Tensor]) -> None:
        """Count the terms of the loss of one step."""
        self._steps += 1
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def add(self, step: int, figures: Figures) -> bool:
        """End a point at this step; returns whether it is the best so far. UserError: the losses are not finite."""
        losses = {name: float(value) / self._steps for name, value in self._sums.items()}
        if losses:
            losses["loss"] = sum(losses.values())
            if not math.isfinite(losses["loss"]):
                raise UserError(
                    f"step {step:,}: the loss is not finite, the training has diverged; give a lower --rate and "
                    "another --out"
                )
        point = {"step": step, **losses, **figures}
        self.points.append(point)
        self._sums, self._steps = {}, 0
        if self._value(point) is None:  # the start has no loss yet
            return False
        if better := self.best is None or self._value(point) < self._value(self.best):  # type: ignore[operator]
            self.best = point
        return better

    def _value(self, point: dict[str, float]) -> float | None:
        value = point.get(self.criterion.removeprefix("-"))
        return value if value is None or not self.criterion.startswith("-") else -value

    def flat(self, patience: int | None) -> bool:
        """Whether the last `patience` points were no better than the best before them."""
        if patience is None or self.best is None:
            return False
        return len(self.points) - 1 - self.points.index(self.best) >= patience

    def write(self, path: Path) -> None:
        """Write one line of JSON for each point. A kill leaves the old file or the new one."""
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(point) + "\n" for point in self.points))
        os.replace(temporary, path)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint stores. A checkpoint is written right after a point, when no loss is counted."""
        return {"points": self.points, "best": self.best, "criterion": self.criterion}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. ValueError where it was measured by something else."""
        if state["criterion"] != self.criterion:
            raise ValueError(f"its curve is judged by {state['criterion']}, not by {self.criterion}")
        self.points, self.best = state["points"], state["best"]

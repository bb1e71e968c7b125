"""What a training shows while it runs."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from torch import Tensor

from factory.present.progress import Live
from factory.present.terminal import open_console, say
from factory.present.words import duration


class TrainingProgress(Live):
    """Name, step, share done, rate, remaining time, and the mean of each value since the last line.

    A terminal shows a live bar, a pipe a plain line every 20 seconds. `steps` or `minutes` is the budget.
    """

    def __init__(
        self, name: str, steps: int | None = None, minutes: float | None = None, console: Console | None = None
    ) -> None:
        super().__init__(
            console or open_console(),
            TextColumn("[bold]{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[line]}"),
        )  # fmt: skip
        self.name, self.budget, self.minutes = name, steps, minutes or 0.0
        self.interval = 1.0 if self.console.is_terminal else 20.0  # seconds
        self.since, self.steps, self.sums = time.monotonic(), 0, dict[str, float | Tensor]()
        self.task = self.bar.add_task(name, total=1.0, line="starting")

    def tick(self, step: int, fraction: float, values: dict[str, float | Tensor]) -> None:
        """Count step number `step`, after which `fraction` of the budget is spent; show a line when one is due."""
        self.steps += 1
        for key, value in values.items():  # summed as tensors: float() would wait for the device at each step
            self.sums[key] = self.sums.get(key, 0.0) + value
        elapsed = time.monotonic() - self.since
        if elapsed < self.interval and fraction < 1:
            return
        means = "  ".join(f"{key} {float(total) / self.steps:.4g}" for key, total in self.sums.items())
        left = (self.budget - step - 1) * elapsed / self.steps if self.budget else 60 * self.minutes * (1 - fraction)
        rate = f"{self.steps / max(elapsed, 1e-9):.2f} steps/s"
        line = f"step {step + 1}  {fraction:.0%}  {rate}  ETA {duration(left)}  {means}"
        self.bar.update(self.task, completed=fraction, line=line)
        if not self.console.is_terminal:
            say(self.console, f"{self.name}  {line}")
        self.since, self.steps, self.sums = time.monotonic(), 0, {}

"""The progress of a run: one live line on a terminal, plain lines at intervals in a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn

from factory.present.terminal import say
from factory.present.words import counts, duration

if TYPE_CHECKING:
    from factory.engine.run import Event

EVERY = 5.0  # seconds between plain lines


class Live:
    """A context manager that shows a progress bar on a terminal, and nothing elsewhere."""

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self.console, self.bar = console, Progress(*columns, console=console)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()


class RunProgress(Live):
    """A listener for `run(on_event=...)`, and a context manager: `with RunProgress(console) as progress: ...`."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}"), BarColumn(bar_width=32), MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[pace]}[/]"),
        )  # fmt: skip
        self.clock = clock
        self.done = self.total = 0
        self.states: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.first: tuple[float, int] | None = None  # (time of this run's first unit, records done then)
        self.printed = float("-inf")
        self.task = self.bar.add_task("starting", total=None, pace="loading models")

    def __call__(self, event: Event) -> None:
        self.total = event.total_records
        self.done += event.records
        self.states.update(event.states)
        self.reasons.update(event.reasons)
        now = self.clock()
        if event.kind == "unit" and self.first is None:
            self.first = now, self.done
        if event.kind in ("waiting", "isolating") or (event.kind == "resumed" and 0 < self.done < self.total):
            say(self.console, event.message)
        pace = self.pace(now)
        words = counts(self.states)
        self.bar.update(
            self.task, completed=self.done, total=self.total, description=words, pace=pace or "loading models"
        )
        due = now - self.printed >= EVERY or self.done == self.total
        if event.kind == "unit" and due and not self.console.is_terminal:
            self.printed = now
            line = f"{self.done:,} of {self.total:,} records: {words}"
            say(self.console, f"{line}; {pace}" if pace else line)

    def pace(self, now: float) -> str:
        """Rate and remaining time, measured from this run's first unit on: the time for loading models must not count.
        Empty until there is something to measure."""
        if self.first is None or self.done == self.first[1] or now <= self.first[0]:
            return ""
        rate = (self.done - self.first[1]) / (now - self.first[0])
        speed = f"{rate:.1f} records/s" if rate >= 1 else f"{1 / rate:.1f} s/record"
        left = self.total - self.done
        return f"{speed}, {duration(left / rate)} to go" if left else speed

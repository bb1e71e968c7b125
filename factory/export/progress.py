"""The progress of an export: one live line on a terminal, plain lines at intervals in a log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from factory.present.progress import EVERY, Live
from factory.present.terminal import say
from factory.present.words import duration


class ExportProgress(Live):
    """A context manager that is passed to `export` as `on_piece`."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            console,
            TextColumn("images"), BarColumn(bar_width=32), MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[pace]}[/]"),
        )  # fmt: skip
        self.clock = clock
        self.first: tuple[float, int] | None = None  # (start of this run, images that earlier runs had written)
        self.printed = float("-inf")
        self.task = self.bar.add_task("", total=None, pace="reading the index")

    def __call__(self, done: int, total: int) -> None:
        now = self.clock()
        if self.first is None:
            self.first = now, done
            if done:
                say(self.console, f"resumed: {done:,} of {total:,} images are written")
            return
        rate = (done - self.first[1]) / max(now - self.first[0], 1e-9)
        pace = f"{rate:,.0f} images/s" + f", {duration((total - done) / rate)} to go" * (done < total)
        self.bar.update(self.task, completed=done, total=total, pace=pace)
        if not self.console.is_terminal and (now - self.printed >= EVERY or done == total):
            self.printed = now
            say(self.console, f"{done:,} of {total:,} images; {pace}")

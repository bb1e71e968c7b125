"""How far an evaluation is: a line on a terminal, nothing elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from factory.present.progress import Live
from factory.present.terminal import shown


class ImagesProgress(Live):
    """Give it to `compare(seen=...)` and use it as a context."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            console, TextColumn("{task.description}", markup=False), BarColumn(bar_width=32), MofNCompleteColumn()
        )
        self.task = self.bar.add_task("loading models", total=None)

    def __call__(self, name: str, done: int, total: int) -> None:
        self.bar.update(self.task, description=shown(name), completed=done, total=total)

"""One real image of a source, and where a source's images lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from factory.job import Images


@dataclass(frozen=True)
class Item:
    """One image. action: what the person does, "" where the source does not say.

    window: (centre x, centre y, side) px of the square to take, or None: the largest one in the middle.
    """

    name: str
    action: str = ""
    window: tuple[float, float, float] | None = None


def root(spec: Images) -> Path:
    """The folder that names are relative to."""
    path = Path(spec.path).expanduser()
    return path if spec.kind in ("folder", "skipose", "smart") or path.is_dir() else path.parent

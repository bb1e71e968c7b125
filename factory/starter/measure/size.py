"""The size of a pack."""

from __future__ import annotations

from pathlib import Path

from factory.weights.locate import WEIGHTS


def megabytes(folder: Path = WEIGHTS) -> float:
    """Size of a folder's files in 10^6 bytes. A file that several links point to counts once."""
    return sum(path.stat().st_size for path in {p.resolve() for p in folder.rglob("*") if p.is_file()}) / 1e6

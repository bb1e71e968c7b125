"""The parts of the embedded starter pack, by name: resolved below the models, which know them too."""

from pathlib import Path

from factory.weights.locate import PARTS, PREFIX, WEIGHTS, locate, resolve

__all__ = ["PARTS", "PREFIX", "WEIGHTS", "locate", "megabytes", "resolve"]


def megabytes(folder: Path = WEIGHTS) -> float:
    """Size of a pack, in 10^6 bytes; a file that several names link to counts once."""
    return sum(path.stat().st_size for path in {p.resolve() for p in folder.rglob("*") if p.is_file()}) / 1e6

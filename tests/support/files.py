"""The files of data sets and exports, to be compared and damaged."""

from __future__ import annotations

from pathlib import Path


def tree(out: str | Path) -> dict[str, bytes]:
    """Every file of a data set, but for job.json, which tells where it was made."""
    files = {path.relative_to(out).as_posix(): path for path in Path(out).rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "job.json"}


def folders(out: str | Path) -> list[Path]:
    return [path for path in Path(out).rglob("*") if path.is_dir()]


def export_tree(folder: Path) -> dict[str, bytes]:
    """Every file of an export, but for its lock."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)

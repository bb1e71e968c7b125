"""Where a data set lies: whole objects under slash-separated names.

An object appears whole or not at all; nothing is renamed, appended to or half-written as far as callers can see. So an
object store can stand in for the local folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """The few operations the store needs."""

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write the object, durably, in place of an older one. Done when it returns."""

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        """Bytes from `start`, `size` of them or up to the end. Raises FileNotFoundError."""

    def sizes(self) -> dict[str, int]:
        """Every object's name and size."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove the objects; absent ones are no error."""


class LocalFiles:
    """Files under a folder, which appears with the first put. Names that begin with a dot are not objects."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        path = self.root / name
        make_folder(path.parent)
        temporary = path.parent / f".{path.name}.tmp"
        with open(temporary, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)  # before the next put, so that what lies there is always a prefix of what was put

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        with open(self.root / name, "rb") as file:
            file.seek(start)
            return file.read(size)

    def sizes(self) -> dict[str, int]:
        sizes = {}
        for path in self._walk(hidden=False):
            with contextlib.suppress(FileNotFoundError):  # a live run removes parts
                sizes[path.relative_to(self.root).as_posix()] = path.stat().st_size
        return sizes

    def delete(self, names: Iterable[str]) -> None:
        folders = set()
        for name in names:
            path = self.root / name
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
            folders.add(path.parent)
        for folder in folders - {self.root}:
            _prune(folder)

    def sweep(self) -> None:
        """Remove what writers that were killed have left."""
        for path in self._walk(hidden=True):
            if path.name.endswith(".tmp"):
                os.remove(path)
        for folder, _, names in os.walk(self.root, topdown=False):
            if not names and folder != str(self.root):
                _prune(Path(folder))

    def _walk(self, hidden: bool) -> Iterator[Path]:
        for folder, _, names in os.walk(self.root):
            yield from (Path(folder, name) for name in names if name.startswith(".") == hidden)


def _prune(folder: Path) -> None:
    """Remove the folder and those above it, as far as they are empty. The root never is: it holds the lock."""
    with contextlib.suppress(OSError):
        os.removedirs(folder)


def make_folder(path: Path) -> None:
    """mkdir -p whose result survives a power cut."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What a model's files hold, in a digest that costs milliseconds for gigabytes.

A file of up to WHOLE bytes is read whole; of a larger one its size, both ends and pieces spread over it. Retrained,
converted or swapped weights differ nearly everywhere, so they are noticed; a single changed byte need not be.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

WHOLE = 16 * 2**20  # bytes
BLOCKS, BLOCK = 64, 64 * 1024  # number, bytes


def digests(places: dict[str, Path]) -> dict[str, str]:
    """Field -> digest of the file or folder at its path."""
    return {name: digest(path) for name, path in places.items()}


def digest(path: Path) -> str:
    """Of a file, or of a folder's files with their names; hidden ones are left out. Links are followed."""
    if path.is_file():
        return _of_file(path).hex()
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(_names(path)):
        whole.update(name.encode("utf-8", "surrogateescape") + b"\0" + _of_file(path / name))
    return whole.hexdigest()


def _names(folder: Path) -> list[str]:
    found = []
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    return [name for name in found if (folder / name).is_file()]


def _of_file(path: Path) -> bytes:
    size = path.stat().st_size
    told = hashlib.blake2b(f"{size}:".encode(), digest_size=16)
    with open(path, "rb") as file:
        if size <= WHOLE:
            told.update(file.read())
        else:
            for i in range(BLOCKS):
                file.seek((size - BLOCK) * i // (BLOCKS - 1))
                told.update(file.read(BLOCK))
    return told.digest()

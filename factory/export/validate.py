"""Whether a folder, ours or anybody's, keeps to what a trainer's loader demands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from factory.errors import UserError
from factory.export import formats
from factory.export.run import MARK, MOST
from factory.untrusted import text


def validate(folder: str, name: str) -> Iterator[str]:
    """'file: field: what is wrong', for each thing that is wrong. Nothing of the folder is run. UserError where there
    is no such folder or format, or nothing in it that the format knows."""
    kind, root = formats.find(name), Path(folder)
    if not root.is_dir():
        raise UserError(f"{folder}: no such folder")
    yield from _unfinished(root)
    yield from kind.validate(root)


def _unfinished(root: Path) -> Iterator[str]:
    try:
        mark = text.loads(text.read(root / MARK, MOST), MOST)
    except (OSError, ValueError):
        return
    if isinstance(mark, dict) and "format" in mark and "images" not in mark:
        yield f"{MARK}: this export is not finished; run the same factory export again"

"""`factory validate`: check whether a folder, exported here or not, meets the demands of a trainer's loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from factory.errors import UserError
from factory.export import formats
from factory.export.run import EXPORT_MARK, EXPORT_MARK_BYTES
from factory.untrusted import text


def validate(folder: str, name: str) -> Iterator[str]:
    """Yield texts 'file: field: what is wrong'. No code from the folder is run. UserError when there is no such folder
    or format, or when the folder holds no file of the format."""
    kind, root = formats.find(name), Path(folder)
    if not root.is_dir():
        raise UserError(f"{folder}: no such folder")
    yield from _unfinished(root)
    yield from kind.validate(root)


def _unfinished(root: Path) -> Iterator[str]:
    """Yield what is wrong when the folder holds the mark of an export that was not finished."""
    try:
        mark = text.loads(text.read_text(root / EXPORT_MARK, EXPORT_MARK_BYTES), EXPORT_MARK_BYTES)
    except (OSError, ValueError):
        return
    if isinstance(mark, dict) and "format" in mark and "images" not in mark:
        yield f"{EXPORT_MARK}: this export is not finished; run the same factory export again"

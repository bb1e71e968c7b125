"""Which tars a path names: those in a folder, or those that a pattern (a-*.tar, a-{000000..000012}.tar) does."""

from __future__ import annotations

import functools
import re
import tarfile
from itertools import islice
from pathlib import Path

from factory.errors import UserError
from factory.untrusted.tars import walk

MOST = 100_000  # tars of one pattern in braces
HEADER = 1 << 20  # bytes of a member's headers: long names, and what else they tell
MAGIC = set("*?[{")
RANGE = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})")


def base(path: Path) -> Path:
    """The folder that the names of a pattern's tars are relative to: all before the first part that is a pattern."""
    if path.exists():
        return path.parent
    parts = path.parts[:-1]
    return Path(*parts[: next((i for i, part in enumerate(parts) if MAGIC & set(part)), len(parts))])


def tars(path: Path) -> list[Path]:
    """The tars in order. UserError where one that the braces name is not there."""
    if path.is_dir():
        return sorted(path.glob("[!.]*.tar"))
    if path.exists():
        return [path]
    folder = base(path)
    pattern = path.relative_to(folder).as_posix()
    if "{" not in pattern:
        return sorted(folder.glob(pattern))
    found: list[Path] = []
    for name in _expanded(pattern):
        some = sorted(folder.glob(name)) if MAGIC & set(name) else [folder / name]
        if not some or not all(tar.is_file() for tar in some):
            raise UserError(f"images.path: {folder / name} is not there, and the braces of {path} name it")
        found += some
    return list(dict.fromkeys(found))


def _expanded(pattern: str) -> list[str]:
    from braceexpand import braceexpand

    if any(abs(int(last) - int(first)) >= MOST for first, last in RANGE.findall(pattern)):  # it makes a list of each
        raise UserError(f"images.path: {pattern} names more than {MOST:,} tars")
    try:
        names = list(islice(braceexpand(pattern), MOST + 1))
    except ValueError as error:
        raise UserError(f"images.path: {pattern}: {error}") from None
    if len(names) > MOST:
        raise UserError(f"images.path: {pattern} names more than {MOST:,} tars")
    return names


@functools.lru_cache(maxsize=64)
def members(path: str) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) of a plain tar's files; size -1 of what is neither a file nor a folder. UserError where
    it is no plain tar."""
    try:
        return {
            member.name: (member.offset_data, member.size if member.isreg() and not member.issparse() else -1)
            for member, _ in walk(Path(path), HEADER)
            if not member.isdir()
        }
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"images.path: {path} is not an uncompressed tar ({error})") from None

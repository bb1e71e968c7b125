"""The tars that a path names, in a folder or by a pattern (a-*.tar, a-{000000..000012}.tar), and their members."""

from __future__ import annotations

import functools
import re
import tarfile
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from factory.errors import UserError
from factory.untrusted.tars import walk

MOST = 100_000  # tars that a pattern in braces may name
HEADER = 1 << 20  # bytes that a member's headers may have
MAGIC = set("*?[{")
RANGE = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})")


def base(path: Path) -> Path:
    """The folder that the names of a pattern's tars are relative to: the parts of the path before the first
    wildcard."""
    if path.exists():
        return path.parent
    parts = path.parts[:-1]
    return Path(*parts[: next((i for i, part in enumerate(parts) if MAGIC & set(part)), len(parts))])


def tars(path: Path) -> list[Path]:
    """The tars, in order. UserError when a tar that the braces name is missing."""
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

    # braceexpand makes a list of every range, however long it is.
    if any(abs(int(last) - int(first)) >= MOST for first, last in RANGE.findall(pattern)):
        raise UserError(f"images.path: {pattern} names more than {MOST:,} tars")
    try:
        names = list(islice(braceexpand(pattern), MOST + 1))
    except ValueError as error:
        raise UserError(f"images.path: {pattern}: {error}") from None
    if len(names) > MOST:
        raise UserError(f"images.path: {pattern} names more than {MOST:,} tars")
    return names


class Member(NamedTuple):
    """A member of a tar. offset, size: where its bytes are. plain: False for a link or a sparse file, whose bytes are
    elsewhere or incomplete."""

    offset: int
    size: int
    plain: bool


@functools.lru_cache(maxsize=64)
def members(path: str) -> dict[str, Member]:
    """The members of an uncompressed tar, except folders, by name. UserError when the file is no uncompressed tar."""
    try:
        return {
            member.name: Member(member.offset_data, member.size, member.isreg() and not member.issparse())
            for member, _ in walk(Path(path), HEADER)
            if not member.isdir()
        }
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"images.path: {path} is not an uncompressed tar ({error})") from None

"""Where a data set lies: whole objects under slash-separated names.

An object appears whole or not at all; nothing is renamed, appended to or half-written as far as callers can see. So an
object store can stand in for the local folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from factory.errors import UserError

URL = re.compile(r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]*)((?:/[A-Za-z0-9_=+,-][A-Za-z0-9._=+,-]*)*)/?")
MENDABLE = {  # what a user can mend about a disk
    errno.ENOSPC: "no space is left; make room and run again, what is finished is kept",
    errno.EDQUOT: "the quota is used up; make room and run again, what is finished is kept",
    errno.EFBIG: "a file may not grow that large here; lower samples_per_shard or raise the limit",
    errno.EROFS: "it is read-only; write elsewhere",
    errno.EACCES: "permission denied; write elsewhere",
    errno.EPERM: "permission denied; write elsewhere",
}


Fence = Callable[[], None]


class Files(Protocol):
    """The few operations the store needs. UserError where the place itself fails: full, read-only, out of reach."""

    where: str  # for people

    def put(self, name: str, chunks: Iterable[bytes], fence: Fence | None = None) -> None:
        """Write the object, durably, in place of an older one. Done when it returns. `fence` raises where the caller
        may no longer write: it is called at the last moment, and again where somebody else has written since."""

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        """Bytes from `start`, `size` of them or up to the end. Raises FileNotFoundError."""

    def read_each(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Whole objects in the order of their names, several at a time where that is faster; None for absent ones."""

    def sizes(self) -> dict[str, int]:
        """Every object's name and size: one listing."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove the objects; absent ones are no error."""

    def sweep(self) -> None:
        """Remove what writers that were killed have left."""


def open_files(out: str | os.PathLike[str]) -> Files:
    """The place that a job's `output` names: a folder, or s3://, gs:// or az:// with a bucket and a prefix. UserError
    for anything else. Touches nothing."""
    text = os.fspath(out)
    if "://" not in text:
        if not text or "\0" in text:
            raise UserError(f"output: {text!r} is no path")
        return LocalFiles(text)
    match = URL.fullmatch(text)
    if not match:
        shown = text.partition("://")[0] + "://..."  # the rest may hold a password
        raise UserError(
            f"output: {shown} is not understood; write s3://BUCKET/PREFIX (or gs://, az://) of letters, digits and"
            " ._-=+, and leave credentials to the environment"
        )
    from factory.store.objects import ObjectFiles

    return ObjectFiles(*match.groups())


class LocalFiles:
    """Files under a folder, which appears with the first put. Names that begin with a dot are not objects."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.where = str(root)

    def put(self, name: str, chunks: Iterable[bytes], fence: Fence | None = None) -> None:
        path = self.root / name
        temporary = path.parent / f".{path.name}.tmp"
        with mendable(self.where):
            make_folder(path.parent)
            try:
                with open(temporary, "wb") as file:
                    for chunk in chunks:
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                if fence:
                    fence()
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.remove(temporary)
                raise
            sync_folder(path.parent)  # before the next put, so that what lies there is always a prefix of what was put

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        with mendable(self.where), open(self.root / name, "rb") as file:
            file.seek(start)
            return file.read(size)

    def read_each(self, names: Iterable[str]) -> Iterator[bytes | None]:
        for name in names:
            try:
                yield self.read(name)
            except FileNotFoundError:
                yield None

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
            with mendable(self.where), contextlib.suppress(FileNotFoundError):
                os.remove(path)
            folders.add(path.parent)
        for folder in folders - {self.root}:
            _prune(folder)

    def sweep(self) -> None:
        for path in self._walk(hidden=True):
            if path.name.endswith(".tmp"):
                with mendable(self.where):
                    os.remove(path)
        for folder, _, names in os.walk(self.root, topdown=False):
            if not names and folder != str(self.root):
                _prune(Path(folder))

    def _walk(self, hidden: bool) -> Iterator[Path]:
        def fault(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # absent, or gone while we looked
                raise UserError(f"output: {self.root} cannot be used ({error.strerror}); write elsewhere")

        for folder, _, names in os.walk(self.root, onerror=fault):
            yield from (Path(folder, name) for name in names if name.startswith(".") == hidden)


@contextlib.contextmanager
def mendable(where: str) -> Iterator[None]:
    """UserError for what the disk refuses and a user can mend."""
    try:
        yield
    except OSError as error:
        if error.errno in MENDABLE:
            raise UserError(f"output: {where}: {MENDABLE[error.errno]}") from None
        raise


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

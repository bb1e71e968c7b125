"""Storage of a data set: whole objects under slash-separated names, in a folder or an object store.

An object appears whole or not at all; nothing is renamed, appended to or half-written as far as callers can see. So an
object store can stand in for the local folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from factory.errors import UserError
from factory.store.disk import (
    OPEN_FOLDER,
    TEMPORARY,
    expanded,
    make_folder,
    mendable,
    open_inner,
    refuse_dangling,
    refuse_link,
    sync,
    temporary,
)

OUTPUT_URL = re.compile(r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]*)((?:/[A-Za-z0-9_=+,-][A-Za-z0-9._=+,-]*)*)/?")
Fence = Callable[[], None]
FOREIGN = {"lost+found", "@eaDir"}  # folders that file systems and NAS boxes keep for themselves


class Files(Protocol):
    """The few operations the store needs. UserError where the place itself fails: full, read-only, out of reach."""

    address: str  # as messages show it

    def put(self, name: str, chunks: Iterable[bytes], fence: Fence | None = None) -> None:
        """Write the object, durably, in place of an older one. Done when it returns. `fence` raises where the caller
        may no longer write: it is called right before the write, and again where another writer came in between."""

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        """Bytes from `start`, `size` of them or up to the end. Raises FileNotFoundError."""

    def sizes(self) -> dict[str, int]:
        """Every object's name and size: one listing."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove the objects; absent ones are no error."""

    def sweep(self, folders: re.Pattern[str]) -> None:
        """Remove what writers that were killed have left: the temporary files of `put` in the place itself and in
        those folders below it whose whole path (such as parts/000000, and parts) matches, and these where they are
        empty. Nothing else, nowhere else."""


def open_files(out: str | os.PathLike[str]) -> Files:
    """The place that a job's `output` names: a folder, or s3://, gs:// or az:// with a bucket and a prefix; ~ and
    environment variables are replaced. UserError for anything else. Touches nothing."""
    text = expanded(os.fspath(out))
    if "://" not in text:
        if not text or "\0" in text:
            raise UserError(f"output: {text!r} is no path")
        return LocalFiles(text)
    match = OUTPUT_URL.fullmatch(text)
    if not match:
        shown = text.partition("://")[0] + "://..."  # the rest may hold a password
        raise UserError(
            f"output: {shown} is not understood; write s3://BUCKET/PREFIX (or gs://, az://) of letters, digits and"
            " ._-=+, and leave credentials to the environment"
        )
    from factory.store.objects import ObjectFiles

    return ObjectFiles(*match.groups())


def read_or_none(files: Files, name: str) -> bytes | None:
    """The whole object; None where it is absent."""
    try:
        return files.read(name)
    except FileNotFoundError:
        return None


class LocalFiles:
    """Files under a folder, which is made by the first put. Names that begin with a dot (.git, .cache) are not listed.

    The folder itself may be reached by a link. Below it a link to a file is read as that file, because the hub's cache
    keeps data sets so; nothing is written or removed through a link.
    """

    def __init__(self, root: str | os.PathLike[str], field: str = "output") -> None:
        """field: what messages call the place."""
        self.root = Path(root)
        self.address, self.field = str(root), field
        self._held: int | None = None

    def put(self, name: str, chunks: Iterable[bytes], fence: Fence | None = None) -> None:
        with self._mendable(name), self._folder(name, make=True) as (folder, last):
            self._put(folder, [(last, chunks)], fence)

    def put_all(self, folder: str, contents: Mapping[str, bytes]) -> None:
        """Write several files of a folder, durably: much faster than one `put` after the other."""
        with self._mendable(folder), self._folder(f"{folder}/*", make=True) as (here, _):
            self._put(here, [(name, [data]) for name, data in contents.items()])

    def _put(self, folder: int, contents: list[tuple[str, Iterable[bytes]]], fence: Fence | None = None) -> None:
        """Write the named contents into an open folder."""
        written: dict[str, str] = {}  # temporary name -> name
        try:
            for name, chunks in contents:
                refuse_link(name, folder, f"{self.address}: {name}")
                unfinished = temporary(name)
                written[unfinished] = name
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(unfinished, flags, 0o666, dir_fd=folder), "wb") as file:
                    for chunk in chunks:
                        file.write(chunk)
                    file.flush()
                    sync(file.fileno())
            if fence:
                fence()
            for unfinished, name in written.items():
                os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException as error:
            for unfinished in written:
                with contextlib.suppress(OSError):
                    os.remove(unfinished, dir_fd=folder)
            if isinstance(error, FileNotFoundError) and TEMPORARY.fullmatch(str(error.filename)):  # and not the chunks'
                raise self._gone("") from None
            raise
        sync(folder)  # before the next put, so that what lies there is always a prefix of what was put

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        with self._mendable(name), self._folder(name) as (folder, last):
            try:
                descriptor = os.open(last, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except PermissionError:
                place = self.root / name
                raise UserError(f"{self.field}: {place} may not be read by this user; ask its owner") from None
            with open(descriptor, "rb") as file:  # a pipe would be waited for
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise UserError(f"{self.field}: {self.root / name} is no plain file; take it away")
                there = os.fstat(descriptor).st_size
                file.seek(start)
                try:
                    return file.read(size if 0 <= size < there else -1)
                except MemoryError:
                    raise UserError(
                        f"{self.field}: {self.root / name} has {there:,} bytes, more than fit into memory; take it away"
                    ) from None

    def sizes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        with self._mendable(""):
            for _, name, entry in self._walk(lambda name: name.rpartition("/")[2] not in FOREIGN):
                with contextlib.suppress(FileNotFoundError):  # a live run removes parts
                    if not entry.name.startswith(".") and not entry.is_dir():
                        sizes[name] = entry.stat().st_size
        return sizes

    def delete(self, names: Iterable[str]) -> None:
        folders: set[str] = set()
        for name in names:
            with self._mendable(name), contextlib.suppress(FileNotFoundError), self._folder(name) as (here, last):
                os.remove(last, dir_fd=here)
            folders.add(name.rpartition("/")[0])
        for folder in folders - {""}:
            self._prune(folder)

    def sweep(self, folders: re.Pattern[str]) -> None:
        with self._mendable(""):
            for here, _, entry in self._walk(lambda name: bool(folders.fullmatch(name))):
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        _remove_empty(entry.name, here)
                    elif TEMPORARY.fullmatch(entry.name):
                        os.remove(entry.name, dir_fd=here)

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """The folder's descriptor; the folder is made when absent. Until the context ends, what is written lands in
        that very folder, wherever its path leads to by then."""
        before = self._held
        with self._mendable(""):
            make_folder(self.root)
            folder = self._held = os.open(self.root, OPEN_FOLDER)
        try:
            yield folder
        finally:
            self._held = before
            os.close(folder)

    def check_held(self) -> None:
        """UserError where the path no longer leads to the folder that is held."""
        assert self._held is not None
        with self._mendable(""):
            try:
                there = os.stat(self.root)
            except FileNotFoundError:
                there = None
            if there is None or not os.path.samestat(there, os.fstat(self._held)):
                raise self._gone("")

    def _gone(self, name: str) -> UserError:
        return UserError(
            f"{self.field}: {self.root / name} was moved, removed or replaced while it was written to; "
            "put it back and run again"
        )

    @contextlib.contextmanager
    def _folder(self, name: str, make: bool = False) -> Iterator[tuple[int, str]]:
        """(descriptor of the folder in which the object lies, the object's name in there). Raises FileNotFoundError
        where there is no such folder, unless it is to be made."""
        *inner, last = name.split("/")
        if {"", ".", ".."} & {*inner, last}:
            raise UserError(f"{self.field}: {name!r} is no name of a file below {self.address}")
        with contextlib.ExitStack() as stack:
            try:
                here = self._root(stack, make)
                for depth, folder in enumerate(inner, 1):
                    path = str(Path(self.root, *inner[:depth]))
                    try:
                        here = open_inner(folder, here, path)
                    except FileNotFoundError:
                        if not make:
                            raise
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(folder, dir_fd=here)
                        sync(here)
                        here = open_inner(folder, here, path)
                    stack.callback(os.close, here)
            except FileNotFoundError:
                if make:
                    raise self._gone(name) from None
                raise
            except NotADirectoryError:
                if make:
                    raise
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.root / name)) from None
            yield here, last

    def _root(self, stack: contextlib.ExitStack, make: bool = False) -> int:
        if self._held is not None:
            return self._held
        if make:
            make_folder(self.root)
        refuse_dangling(self.root)
        here = os.open(self.root, OPEN_FOLDER)
        stack.callback(os.close, here)
        return here

    def _walk(self, enter: Callable[[str], bool]) -> Iterator[tuple[int, str, os.DirEntry[str]]]:
        """(descriptor of the folder in which it lies, name, entry) of all that lies here and in the folders that
        `enter` allows by their name, a folder after what is in it. Other folders and hidden ones are left out. A link
        to a folder is an entry, no folder."""

        def inside(here: int, prefix: str) -> Iterator[tuple[int, str, os.DirEntry[str]]]:
            with os.scandir(here) as entries:
                listed = list(entries)
            for entry in listed:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name.startswith(".") or not enter(name):
                        continue
                    with contextlib.suppress(FileNotFoundError):  # gone while we looked
                        inner = open_inner(entry.name, here, str(self.root / name))
                        try:
                            yield from inside(inner, name + "/")
                        finally:
                            os.close(inner)
                yield here, name, entry

        with self._mendable(""), contextlib.ExitStack() as stack, contextlib.suppress(FileNotFoundError):
            here = os.open(".", OPEN_FOLDER, dir_fd=self._root(stack))  # anew: two listings would share one's progress
            stack.callback(os.close, here)
            yield from inside(here, "")

    def _prune(self, folder: str) -> None:
        """Remove the folder, and those above it in the data set, as far as they are empty."""
        while folder:
            with contextlib.suppress(FileNotFoundError), self._folder(folder) as (above, last):
                if not _remove_empty(last, above):
                    return
            folder = folder.rpartition("/")[0]

    def _mendable(self, name: str) -> contextlib.AbstractContextManager[None]:
        return mendable(str(self.root / name), self.field)


def _remove_empty(name: str, folder: int) -> bool:
    """Remove a folder in an open one if it is empty; says whether it did."""
    try:
        os.rmdir(name, dir_fd=folder)
        return True
    except OSError:
        return False

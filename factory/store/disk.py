"""Errors of disks and shares as one line for the user, and operations below an open folder that follow no link.

A data set may be of untrusted origin, and a folder may change while a run writes to it. So every write is relative to
an open descriptor of its folder, and a link below that folder is never followed to another one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from factory.errors import UserError

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")  # the names that `temporary` gives, and no other program
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")

AGAIN, WRITE_ELSEWHERE = "what is finished is kept", "write elsewhere"
MENDABLE = {  # what a user can mend about a disk
    errno.ENOSPC: f"no space is left; make room and run again, {AGAIN}",
    errno.EDQUOT: f"the quota is used up; make room and run again, {AGAIN}",
    errno.EFBIG: "a file may not grow that large here; lower samples_per_shard or raise the limit",
    errno.EROFS: f"it is read-only; {WRITE_ELSEWHERE}",
    errno.EACCES: f"permission denied; ask its owner for the right, or {WRITE_ELSEWHERE}",
    errno.EPERM: f"permission denied; ask its owner for the right, or {WRITE_ELSEWHERE}",
    errno.EIO: f"the disk reports an input/output error; look at its health, then run again, {AGAIN}",
    errno.ESTALE: f"the share has lost it (stale file handle); mount the share anew and run again, {AGAIN}",
    errno.ENOTDIR: f"a file stands where a folder should be; {WRITE_ELSEWHERE}",
    errno.EISDIR: f"a folder stands where a file should be; {WRITE_ELSEWHERE}",
    errno.EEXIST: f"a file stands where a folder should be; {WRITE_ELSEWHERE}",
    errno.ENAMETOOLONG: f"the name is too long for this disk; shorten the job's name, or {WRITE_ELSEWHERE}",
    **dict.fromkeys(
        (errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNABORTED, errno.ECONNRESET),
        f"the share does not answer; mount it anew and run again, {AGAIN}",
    ),
}
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def mendable(address: str, field: str = "output") -> Iterator[None]:
    """UserError for an OSError of the disk in the block. A FileNotFoundError passes: callers expect it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (None, errno.EBADF):  # of no disk: raised by a library, or a bug here
            raise
        words = MENDABLE.get(error.errno) or f"{error.strerror}; mend it and run again, {AGAIN}"
        raise UserError(f"{field}: {address}: {words}") from None


def expanded(path: str, field: str = "output") -> str:
    """The path with ~ and environment variables replaced, as a shell does with what stands unquoted. A job's field and
    `--to=~/x` reach us as they are written. UserError for a variable that is not set, and a user without a home."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise UserError(f"{field}: {path}: the environment has no variable {name}; set it, or write the path out")
        return os.environ[name]

    if re.match(r"~[\w.-]*(/|$)", path):
        home = os.path.expanduser(path)
        if home.startswith("~"):
            raise UserError(f"{field}: {path}: no home is known for {path.partition('/')[0]}; write the path out")
        path = home
    return VARIABLE.sub(value, path)


def temporary(name: str) -> str:
    """An unpredictable name beside `name`, so that no link can be waiting there."""
    return f".{name}.{secrets.token_hex(8)}.tmp"


def make_folder(path: Path) -> None:
    """mkdir -p whose result survives a power cut. UserError where a link leads to no folder."""
    if not path.is_dir():
        refuse_dangling(path)
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def refuse_dangling(path: Path) -> None:
    """UserError where the path is a link that leads to no folder."""
    if path.is_symlink() and not path.is_dir():
        raise UserError(f"output: {path} is a link that leads to no folder ({os.readlink(path)}); make that one first")


def open_inner(name: str, folder: int, path: str) -> int:
    """Descriptor of the folder `name` in an open one. UserError where it is a link."""
    try:
        return os.open(name, OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        refuse_link(name, folder, path)
        raise


def refuse_link(name: str, folder: int, path: str) -> None:
    """UserError where `name` in an open folder is a link: what is written there might land anywhere."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise UserError(
                f"output: {path} is a link, and nothing is written through links inside a data set; "
                f"put what it points to in its place, or {WRITE_ELSEWHERE}"
            )


def free_space(path: Path) -> tuple[Path, int]:
    """(the path itself or the nearest folder above it that exists, bytes that are free there)."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    return there, shutil.disk_usage(there).free


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, as far as the disk can."""
    try:
        descriptor = os.open(path, OPEN_FOLDER)
    except PermissionError:  # one may be allowed to write in a folder and not to read it
        return
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """fsync; nothing where the disk has none for this: SMB and FUSE know none of folders."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise

"""The mark of a folder: a file on which the kernel's own lock lies, wherever the file system has locks."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from factory.errors import UserError
from factory.store.disk import mendable, refuse_link, sync
from factory.store.fs import LocalFiles
from factory.store.mark import NAME, UNKNOWN, Holder, encode, gone, in_use, parse

SETTLE = 2.0  # s
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}  # of some network file systems


class FileMark:
    """In a folder, on a file that this process has locked where the file system can. A machine that does
    not see the lock may still write to it."""

    def __init__(self, files: LocalFiles, folder: int, descriptor: int, locked: bool) -> None:
        self.files, self.folder, self.descriptor, self.locked = files, folder, descriptor, locked
        self.mine = ""

    def read(self) -> Holder | None:
        with mendable(self.files.where, self.files.field):
            if self.locked:
                return parse(os.pread(self.descriptor, 4096, 0))
            # NFS shows what another machine has written only in a file that is opened afterwards.
            descriptor = _open(NAME, os.O_RDONLY, self.folder)
            try:
                return parse(os.pread(descriptor, 4096, 0))
            finally:
                os.close(descriptor)

    def check(self) -> bool:
        self.files.check_held()
        with mendable(self.files.where, self.files.field):
            try:
                there = os.stat(NAME, dir_fd=self.folder, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is None or not os.path.samestat(there, os.fstat(self.descriptor)):
                raise UserError(
                    f"{self.files.field}: {self.files.root / NAME} was removed or replaced while this run wrote to its "
                    "folder: another run may write there by now; this one ends, what is finished is kept"
                )
        return self.locked or self._ours(self.read())

    def _ours(self, last: Holder | None) -> bool:
        return last is not None and last.run == self.mine

    def write(self, holder: Holder | None) -> bool:
        first = not self.mine
        if not first and not self._ours(self.read()):
            return False
        with mendable(self.files.where, self.files.field):
            if holder is None:
                os.ftruncate(self.descriptor, 0)
            else:
                self.mine = holder.run
                os.pwrite(self.descriptor, encode(holder), 0)
                if not self.locked:
                    sync(self.descriptor)  # so that other machines see it
        if first and not self.locked:
            time.sleep(SETTLE)
            return self.read() == holder
        return True

    def dead(self, holder: Holder) -> bool:
        if self.locked and holder.locks and holder.host == socket.gethostname():
            return True  # or we should not have the lock
        return gone(holder)


_marks: weakref.WeakSet[FileMark] = weakref.WeakSet()  # that this process holds


def _forked() -> None:
    """A child would keep the lock for as long as it lives, whatever becomes of the run."""
    for mark in _marks:
        os.close(mark.descriptor)
        mark.descriptor = -1


os.register_at_fork(after_in_child=_forked)


@contextmanager
def file_mark(files: LocalFiles) -> Iterator[FileMark]:
    with files.held() as folder:
        path = str(files.root / NAME)
        with mendable(path, files.field):
            refuse_link(NAME, folder, path)
            descriptor = _open(NAME, os.O_RDWR | os.O_CREAT, folder)
        mark = FileMark(files, folder, descriptor, False)
        _marks.add(mark)
        try:
            with mendable(path, files.field):
                locked = _lock(descriptor, fcntl.LOCK_EX, tries=5)
                if locked is False:
                    raise in_use(files.where, probe(files)[1])
                _refuse_foreign(descriptor, path)
            mark.locked = bool(locked)
            yield mark
        finally:
            _marks.discard(mark)
            if mark.descriptor >= 0:  # or this is a forked child
                if mark.locked:  # a child that has come by the descriptor would keep what is only closed
                    with suppress(OSError):
                        fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)


def probe(files: LocalFiles) -> tuple[bool | None, Holder | None]:
    """(whether this machine's kernel sees a lock, None where nobody can say; what is known of its holder, or of the
    last one)."""
    path = files.root / NAME
    try:
        descriptor = _open(path, os.O_RDONLY)
    except PermissionError:  # somebody else's. But it is empty when nobody holds it, and every beat renews its time
        with suppress(OSError):
            info = os.lstat(path)
            return None, replace(UNKNOWN, beat=info.st_mtime) if info.st_size else None
        return None, None
    except OSError:  # absent, or no file
        return False, None
    try:
        with mendable(str(path), files.field):
            free = _lock(descriptor, fcntl.LOCK_SH, tries=1)
        try:
            last = parse(os.pread(descriptor, 4096, 0))
        except OSError:  # on SMB a lock keeps readers out
            last = None
        if free is not False:
            return None if free is None else False, last
        return True, _heir(descriptor, last) if last and gone(last) else last or UNKNOWN
    finally:
        os.close(descriptor)


def _heir(descriptor: int, last: Holder) -> Holder:
    """The process that has kept a lock whose holder is gone: a child that has come by its descriptor."""
    mark = os.fstat(descriptor)
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # gone meanwhile, or another user's
            pid = int(path.parts[2])
            if pid != os.getpid() and os.path.samestat(os.stat(path), mark):
                return replace(last, pid=pid)
    return UNKNOWN


def _open(path: str | Path, flags: int, folder: int | None = None) -> int:
    """Descriptor of a mark. Its mode follows the umask: every user who may write in the folder may hold the lock."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=folder)


def _refuse_foreign(descriptor: int, path: str) -> None:
    """UserError where the file is no mark of ours: it would be overwritten."""
    data = b"" if not stat.S_ISREG(os.fstat(descriptor).st_mode) else os.pread(descriptor, 4096, 0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or (data.strip(b"\0 \n") and not parse(data)):
        raise UserError(f"output: {path} is somebody else's file, and a run keeps its lock there; write elsewhere")


def _lock(descriptor: int, kind: int, tries: int) -> bool | None:
    """Whether the kernel's lock was obtained; None where the file system knows none. More than one try, because
    `probe` holds the lock for an instant."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if left:
                time.sleep(0.05)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return None
            raise
    return False

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
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from factory.errors import UserError
from factory.store.disk import mendable, refuse_link, sync
from factory.store.fs import LocalFiles
from factory.store.mark import (
    MARK_BYTES,
    MARK_NAME,
    UNKNOWN_HOLDER,
    Holder,
    decode_holder,
    encode_holder,
    gone,
    in_use,
)

SETTLE = 2.0  # s
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}  # of some network file systems


class KernelLock(Enum):
    """What the kernel says of the lock on a mark."""

    FREE = "free"
    HELD = "held"  # by another process on a machine that shares its locks with this one
    UNKNOWN = "unknown"  # the file system has no locks, or this user may not open the mark


@dataclass(frozen=True)
class Probe:
    """What can be seen of a mark without holding it."""

    lock: KernelLock
    last: Holder | None  # the run that holds the mark, or the last one that did; None: no run is known


class FileMark:
    """The mark in a folder: a file that this process has locked, if the file system has locks. A machine that does not
    see the lock may still write to the file."""

    def __init__(self, files: LocalFiles, folder: int, descriptor: int, locked: bool) -> None:
        self.files, self.folder, self.descriptor, self.locked = files, folder, descriptor, locked
        self.mine = ""

    def read(self) -> Holder | None:
        with mendable(self.files.address, self.files.field):
            if self.locked:
                return decode_holder(os.pread(self.descriptor, MARK_BYTES, 0))
            # NFS shows what another machine has written only in a file that is opened afterwards.
            descriptor = _open(MARK_NAME, os.O_RDONLY, self.folder)
            try:
                return decode_holder(os.pread(descriptor, MARK_BYTES, 0))
            finally:
                os.close(descriptor)

    def check(self) -> bool:
        self.files.check_held()
        with mendable(self.files.address, self.files.field):
            try:
                there = os.stat(MARK_NAME, dir_fd=self.folder, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is None or not os.path.samestat(there, os.fstat(self.descriptor)):
                raise UserError(
                    f"{self.files.field}: {self.files.root / MARK_NAME} was removed or replaced while this run wrote "
                    "to its folder: another run may write there by now; this one ends, what is finished is kept"
                )
        return self.locked or self._ours(self.read())

    def _ours(self, last: Holder | None) -> bool:
        return last is not None and last.run == self.mine

    def write(self, holder: Holder | None) -> bool:
        first = not self.mine
        if not first and not self._ours(self.read()):
            return False
        with mendable(self.files.address, self.files.field):
            if holder is None:
                os.ftruncate(self.descriptor, 0)
            else:
                self.mine = holder.run
                os.pwrite(self.descriptor, encode_holder(holder), 0)
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
        path = str(files.root / MARK_NAME)
        with mendable(path, files.field):
            refuse_link(MARK_NAME, folder, path)
            descriptor = _open(MARK_NAME, os.O_RDWR | os.O_CREAT, folder)
        mark = FileMark(files, folder, descriptor, False)
        _marks.add(mark)
        try:
            with mendable(path, files.field):
                lock = _lock(descriptor, fcntl.LOCK_EX, tries=5)
                if lock is KernelLock.HELD:
                    raise in_use(files.address, probe(files).last)
                _refuse_foreign(descriptor, path)
            mark.locked = lock is KernelLock.FREE
            yield mark
        finally:
            _marks.discard(mark)
            if mark.descriptor >= 0:  # or this is a forked child
                if mark.locked:  # a child that has come by the descriptor would keep what is only closed
                    with suppress(OSError):
                        fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)


def probe(files: LocalFiles) -> Probe:
    """Look at the mark of a folder; nothing is changed."""
    path = files.root / MARK_NAME
    try:
        descriptor = _open(path, os.O_RDONLY)
    except PermissionError:  # another user's. But it is empty when no run holds it, and every beat renews its time
        with suppress(OSError):
            info = os.lstat(path)
            last = replace(UNKNOWN_HOLDER, beat=info.st_mtime) if info.st_size else None
            return Probe(KernelLock.UNKNOWN, last)
        return Probe(KernelLock.UNKNOWN, None)
    except OSError:  # absent, or no file
        return Probe(KernelLock.FREE, None)
    try:
        with mendable(str(path), files.field):
            lock = _lock(descriptor, fcntl.LOCK_SH, tries=1)
        try:
            last = decode_holder(os.pread(descriptor, MARK_BYTES, 0))
        except OSError:  # on SMB a lock keeps readers out
            last = None
        if lock is KernelLock.HELD:
            last = _heir(descriptor, last) if last and gone(last) else last or UNKNOWN_HOLDER
        return Probe(lock, last)
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
    return UNKNOWN_HOLDER


def _open(path: str | Path, flags: int, folder: int | None = None) -> int:
    """Descriptor of a mark. Its mode follows the umask: every user who may write in the folder may hold the lock."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=folder)


def _refuse_foreign(descriptor: int, path: str) -> None:
    """UserError where the file is no mark of ours: it would be overwritten."""
    data = b"" if not stat.S_ISREG(os.fstat(descriptor).st_mode) else os.pread(descriptor, MARK_BYTES, 0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or (data.strip(b"\0 \n") and not decode_holder(data)):
        raise UserError(f"output: {path} is somebody else's file, and a run keeps its lock there; write elsewhere")


def _lock(descriptor: int, kind: int, tries: int) -> KernelLock:
    """Try to obtain the kernel's lock. FREE: it was, and this process has it now. More than one try, because `probe`
    holds the lock for an instant."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return KernelLock.FREE
        except BlockingIOError:
            if left:
                time.sleep(0.05)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return KernelLock.UNKNOWN
            raise
    return KernelLock.HELD

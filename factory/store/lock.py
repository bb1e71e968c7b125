"""One run at a time in one place.

The kernel's lock on `.lock` goes when its process goes, so a killed run is never in the way on its own machine. Where
two machines share a folder but not its locks, the heartbeat in the file speaks for the holder for STALE seconds more.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from factory.errors import UserError
from factory.store.fs import make_folder

NAME = ".lock"
BEAT, STALE = 10.0, 120.0  # s


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; since and beat are seconds since the epoch."""

    pid: int
    host: str
    since: float
    beat: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextmanager
def hold(root: Path) -> Iterator[None]:
    """Hold the folder, which is made when absent. Raises UserError when another run does."""
    make_folder(root)
    descriptor = os.open(root / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _lock(descriptor, fcntl.LOCK_EX, tries=5) or _elsewhere(descriptor):
            raise in_use(root, _read(descriptor))
        stop, since = threading.Event(), time.time()

        def beat() -> None:
            _write(descriptor, Holder(os.getpid(), socket.gethostname(), since, time.time()))

        def beats() -> None:
            while not stop.wait(BEAT):
                beat()

        beat()
        thread = threading.Thread(target=beats, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(root: Path) -> Holder | None:
    """The live run that holds the folder, if any."""
    try:
        descriptor = os.open(root / NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if not _lock(descriptor, fcntl.LOCK_SH, tries=1) or _elsewhere(descriptor):
            return _read(descriptor) or Holder(0, "unknown", 0.0, 0.0)  # it has only just begun
        return None
    finally:
        os.close(descriptor)


def in_use(root: Path, by: Holder | None) -> UserError:
    return UserError(f"output: {root} is in use by {by or 'another run'}; wait for it, stop it, or write elsewhere")


def _lock(descriptor: int, kind: int, tries: int) -> bool:
    """More than one try, because whoever asks for the status holds the lock for an instant."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if left:
                time.sleep(0.05)
    return False


def _elsewhere(descriptor: int) -> bool:
    """Whether a run on another machine was alive a moment ago."""
    last = _read(descriptor)
    return last is not None and last.host != socket.gethostname() and time.time() - last.beat < STALE


def _read(descriptor: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return None


def _write(descriptor: int, me: Holder) -> None:
    os.pwrite(descriptor, json.dumps(asdict(me)).ljust(512).encode(), 0)  # one length: never a mix of two

"""One run at a time in one place.

A mark in the place, `.lock`, says who holds it, and is rewritten every BEAT seconds. In a folder the kernel's own lock
lies on it, so that a killed run is never in the way on its own machine; in an object store each rewriting is a PUT on
condition that nobody else has written since. Whoever finds the mark of a run that he cannot see die (another machine)
watches it for STALE seconds of his own clock: if it changes, the other lives; if not, the place is his. So no clock
is ever compared with another's, nor need any go forward: the times in the mark are for people.

A holder that is cut off learns of it before its next write, for it writes nothing without a recent beat. That leaves
the write that is under way when STALE ends; it brings the same bytes as the new holder's.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from factory.errors import UserError
from factory.store.fs import Files, LocalFiles, make_folder, mendable
from factory.store.objects import ObjectFiles

NAME = ".lock"
BEAT, STALE = 10.0, 60.0  # s


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; since and beat are seconds since the epoch by its own clock."""

    pid: int
    host: str
    since: float
    beat: float
    beats: int = 0
    run: str = ""  # a name of its own for every run
    kernel: str = ""  # in which its pid means something

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Mark(Protocol):
    """The mark in its place."""

    def read(self) -> Holder | None: ...

    def write(self, holder: Holder | None) -> bool:
        """Whether it could be: not where somebody else has written since the last reading or writing."""

    def dead(self, holder: Holder) -> bool:
        """Whether the holder is known to be gone."""


class Lease:
    """A lock that is held, beating until it is given back."""

    def __init__(self, mark: Mark, me: Holder, where: str) -> None:
        self.mark, self.me, self.where = mark, me, where
        self._beaten, self._lost, self._busy, self._stop = _clock(), False, threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beats, daemon=True)

    def check(self) -> None:
        """UserError where the lock has gone to somebody else. Call it before every write."""
        if not self._lost and _clock() - self._beaten > STALE / 2:  # the machine slept, or the place is out of reach
            self._beat()
        if self._lost:
            raise UserError(
                f"output: {self.where} was taken over by {self.mark.read() or 'another run'}; this run ends"
            )

    def _beats(self) -> None:
        while not self._stop.wait(BEAT) and not self._lost:
            with suppress(UserError, OSError):  # out of reach for now: `check` will ask again
                self._beat()

    def _beat(self) -> None:
        with self._busy:
            begun = _clock()
            self.me = replace(self.me, beat=time.time(), beats=self.me.beats + 1)
            if self.mark.write(self.me):
                self._beaten = begun
            else:
                self._lost = True

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if not self._lost:
            with suppress(UserError, OSError):
                self.mark.write(None)


@contextmanager
def hold(files: Files, say: Callable[[str], None] = lambda text: None) -> Iterator[Lease]:
    """Hold the place; a folder is made when absent. UserError when another run does. `say` is told of waiting."""
    with ExitStack() as stack:
        if not isinstance(files, LocalFiles):
            _objects(files).require_conditions(NAME)
        mark: Mark = (
            stack.enter_context(_file(files.root)) if isinstance(files, LocalFiles) else ObjectMark(_objects(files))
        )
        last = mark.read()
        if last and not mark.dead(last):
            say(f"{files.where}: {last} held it last; watching for up to {STALE:g} s whether it lives")
            _watch(mark, last, files.where)
        now = time.time()
        me = Holder(os.getpid(), socket.gethostname(), now, now, 0, uuid.uuid4().hex, _kernel())
        if not mark.write(me):
            raise in_use(files.where, mark.read())
        yield stack.enter_context(Lease(mark, me, files.where))


def holder(files: Files) -> Holder | None:
    """The run that holds the place, if any. Of a run on another machine it is only told when its last beat was: that
    is taken for life if it is recent by both machines' clocks."""
    if not isinstance(files, LocalFiles):
        mark = ObjectMark(_objects(files))
        last = mark.read()
        return last if last and not mark.dead(last) and _recent(last) else None
    if live := seen(files):
        return live
    try:
        last = _parse((files.root / NAME).read_bytes())
    except OSError:
        return None
    return last if last and last.host != socket.gethostname() and _recent(last) else None


def seen(files: Files) -> Holder | None:
    """The run whose lock this machine's kernel sees."""
    if not isinstance(files, LocalFiles):
        return None
    try:
        descriptor = os.open(files.root / NAME, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if _lock(descriptor, fcntl.LOCK_SH, tries=1):
            return None
        return _parse(os.pread(descriptor, 4096, 0)) or Holder(0, "unknown", 0.0, 0.0)  # it has only just begun
    finally:
        os.close(descriptor)


def in_use(where: str, by: Holder | None) -> UserError:
    return UserError(f"output: {where} is in use by {by or 'another run'}; wait for it, stop it, or write elsewhere")


class FileMark:
    """In a folder, on a file that this process has locked. A machine that does not see the lock may still write it."""

    def __init__(self, descriptor: int, where: str) -> None:
        self.descriptor, self.where, self.mine = descriptor, where, ""

    def read(self) -> Holder | None:
        return _parse(os.pread(self.descriptor, 4096, 0))

    def write(self, holder: Holder | None) -> bool:
        last = self.read()
        if self.mine and last and last.run != self.mine:
            return False
        with mendable(self.where):
            if holder is None:
                os.ftruncate(self.descriptor, 0)
            else:
                self.mine = holder.run
                os.pwrite(self.descriptor, _bytes(holder), 0)
        return True

    def dead(self, holder: Holder) -> bool:
        return holder.host == socket.gethostname()  # or we should not have the lock


@contextmanager
def _file(root: Path) -> Iterator[FileMark]:
    with mendable(str(root)):
        make_folder(root)
        descriptor = os.open(root / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _lock(descriptor, fcntl.LOCK_EX, tries=5):
            raise in_use(str(root), _parse(os.pread(descriptor, 4096, 0)))
        yield FileMark(descriptor, str(root))
    finally:
        os.close(descriptor)


class ObjectMark:
    """In an object store. Given back, it stays as an empty object: a deletion could not be made conditional."""

    def __init__(self, files: ObjectFiles) -> None:
        self.files = files
        self.tag: str | None = None

    def read(self) -> Holder | None:
        data, self.tag = self.files.read_tagged(NAME)
        return _parse(data)

    def write(self, holder: Holder | None) -> bool:
        tag = self.files.swap(NAME, b"" if holder is None else _bytes(holder), self.tag)
        self.tag = tag or self.tag
        return tag is not None

    def dead(self, holder: Holder) -> bool:
        return holder.kernel == _kernel() and not Path("/proc", str(holder.pid)).exists()


def _watch(mark: Mark, last: Holder, where: str) -> None:
    end = _clock() + STALE
    while _clock() < end:
        time.sleep(min(1.0, STALE / 10))
        now = mark.read()
        if now is None or now.run != last.run:
            end = _clock() + STALE if now else 0.0
            last = now or last
        elif now != last:
            raise in_use(where, now)


def _objects(files: Files) -> ObjectFiles:
    assert isinstance(files, ObjectFiles)
    return files


def _clock() -> float:
    """Seconds that nobody can set, and that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _recent(holder: Holder) -> bool:
    return abs(time.time() - holder.beat) < STALE


def _kernel() -> str:
    """The same for two processes only if they see each other's pids."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")


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


def _parse(data: bytes) -> Holder | None:
    try:
        return Holder(**json.loads(data))
    except (ValueError, TypeError):
        return None


def _bytes(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).ljust(512).encode()  # one length: never a mix of two

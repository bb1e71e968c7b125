"""One run at a time at one output.

A mark there, `.lock`, names the run that holds it, and is rewritten every BEAT seconds. In a folder the kernel's own
lock lies on it, so that a killed run is never in the way on its own machine; in an object store each rewriting is a PUT
on condition that no other run has written since. Where a share knows no locks, the mark alone has to do: a run writes
it, waits for SETTLE seconds, and holds the output if the mark is still its own. A run that finds the mark of another
machine's run, whose process it cannot see, watches the mark for STALE seconds of its own clock: if the mark changes,
the other run lives; if not, the output is free. So no two clocks are ever compared, and none need be right: the times
in the mark are for people.

A holder that is cut off finds out before its next write, because it writes nothing without a recent beat, and nothing
where the folder or the mark was removed or replaced. That leaves the write that is under way when STALE ends; it brings
the same bytes as the new holder's.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from factory.errors import UserError
from factory.store.file_mark import FileMark, KernelLock, file_mark, probe
from factory.store.fs import Files, LocalFiles
from factory.store.mark import MARK_NAME, Holder, Mark, decode_holder, encode_holder, gone, in_use, kernel
from factory.store.objects import ObjectFiles

BEAT, STALE = 10.0, 60.0  # s


class Lease:
    """A lock that is held, beating until it is given back."""

    def __init__(self, mark: Mark, me: Holder, files: Files) -> None:
        self.mark, self.me, self.files = mark, me, files
        self.needs: list[str] = []  # objects without which nothing more may be written
        self._beaten, self._lost, self._busy, self._stop = _clock(), False, threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beats, daemon=True)

    def check(self) -> None:
        """UserError where another run has taken the lock, or the output was moved or replaced, or lacks an object of
        `needs`. Call it before every write."""
        self._lost = self._lost or not self.mark.check()
        if not self._lost and _clock() - self._beaten > STALE / 2:  # the machine slept, or the place is out of reach
            self._beat()
        if self._lost:
            raise UserError(
                f"output: {self.files.address} was taken over by {self.mark.read() or 'another run'}; this run ends"
            )
        for name in self.needs:
            try:
                self.files.read(name, 0, 1)
            except FileNotFoundError:
                raise UserError(
                    f"output: {name} was taken from {self.files.address} while this run wrote to it; put it back and "
                    "run again, what is finished is kept"
                ) from None

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
    """Hold the place; a folder is made when absent. UserError when another run does. say: called before a wait."""
    with ExitStack() as stack:
        if not isinstance(files, LocalFiles):
            _objects(files).require_conditions(MARK_NAME)
        mark: Mark = (
            stack.enter_context(file_mark(files)) if isinstance(files, LocalFiles) else ObjectMark(_objects(files))
        )
        last = mark.read()
        if last and not mark.dead(last):
            say(f"{files.address}: {last} held it last; watching for up to {STALE:g} s whether it lives")
            _watch(mark, last, files.address)
        now = time.time()
        locks = isinstance(mark, FileMark) and mark.locked
        me = Holder(os.getpid(), socket.gethostname(), now, now, 0, uuid.uuid4().hex, kernel(), locks)
        if not mark.write(me):
            raise in_use(files.address, mark.read())
        yield stack.enter_context(Lease(mark, me, files))


def holder(files: Files) -> Holder | None:
    """The run that holds the place, if any. A run on another machine counts as live if the last beat in its mark is
    recent by both machines' clocks."""
    if not isinstance(files, LocalFiles):
        last = ObjectMark(_objects(files)).read()
    else:
        seen = probe(files)
        last = seen.last
        if seen.lock is KernelLock.HELD:
            return last
        if seen.lock is KernelLock.FREE and last and last.locks and last.host == socket.gethostname():
            return None
    return last if last and not gone(last) and _recent(last) else None


def local_holder(files: Files) -> Holder | None:
    """The run whose lock this machine's kernel sees, if any. No request to a store, no look at a clock."""
    if not isinstance(files, LocalFiles):
        return None
    seen = probe(files)
    return seen.last if seen.lock is KernelLock.HELD else None


class ObjectMark:
    """In an object store. Given back, it stays as an empty object: a deletion could not be made conditional."""

    def __init__(self, files: ObjectFiles) -> None:
        self.files = files
        self.tag: str | None = None

    def read(self) -> Holder | None:
        data, self.tag = self.files.read_tagged(MARK_NAME)
        return decode_holder(data)

    def write(self, holder: Holder | None) -> bool:
        tag = self.files.swap(MARK_NAME, b"" if holder is None else encode_holder(holder), self.tag)
        self.tag = tag or self.tag
        return tag is not None

    def check(self) -> bool:
        return True

    def dead(self, holder: Holder) -> bool:
        return gone(holder)


def _watch(mark: Mark, last: Holder, address: str) -> None:
    end = _clock() + STALE
    while _clock() < end:
        time.sleep(min(1.0, STALE / 10))
        now = mark.read()
        if now is None or now.run != last.run:
            end = _clock() + STALE if now else 0.0
            last = now or last
        elif now != last:
            raise in_use(address, now)


def _objects(files: Files) -> ObjectFiles:
    assert isinstance(files, ObjectFiles)
    return files


def _clock() -> float:
    """Seconds since boot: no change of the date moves them, and they go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _recent(holder: Holder) -> bool:
    return abs(time.time() - holder.beat) < STALE

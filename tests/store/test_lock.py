from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from factory.errors import UserError
from factory.store import lock, mark
from factory.store.fs import LocalFiles
from tests.support.holders import elsewhere

HOLD = """
import sys
from factory.store.fs import open_files
from factory.store.lock import hold
with hold(open_files(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def files(tmp_path) -> LocalFiles:
    return LocalFiles(tmp_path)


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], **pipe)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_live_run_is_refused_and_named(files, other):
    assert lock.holder(files).pid == lock.local_holder(files).pid == other.pid
    who = f"in use by process {other.pid} on {socket.gethostname()}"
    with pytest.raises(UserError, match=who), lock.hold(files):
        pass
    other.communicate("\n")
    assert lock.holder(files) is None
    with lock.hold(files):
        assert lock.holder(files).pid == os.getpid()


def test_what_another_place_refuses_is_not_said_of_the_output(files):
    with pytest.raises(PermissionError, match="weights"), lock.hold(files):
        raise PermissionError(errno.EACCES, "Permission denied", "weights")


def test_a_killed_run_is_gone_at_once(files, other):
    other.kill()
    other.wait()
    assert lock.holder(files) is lock.local_holder(files) is None
    told = []
    with lock.hold(files, told.append):
        assert not told


def test_a_machine_whose_locks_we_do_not_see_is_watched(files, monkeypatch):
    """Its beats tell that it lives, not its clock: here that has stood still, or was set back by an hour."""
    monkeypatch.setattr(lock, "STALE", 0.5)
    holder = elsewhere(files, age=3600)

    def beat(_: float) -> None:
        (files.root / mark.MARK_NAME).write_bytes(mark.encode_holder(replace(holder, beats=4)))

    with monkeypatch.context() as patch:
        patch.setattr(lock.time, "sleep", beat)
        with pytest.raises(UserError, match="process 7 on elsewhere"), lock.hold(files):
            pass


@pytest.mark.parametrize("age", [-1e6, 0, 1e6])
def test_a_machine_that_does_not_beat_is_gone_whatever_its_clock_said(files, monkeypatch, age):
    monkeypatch.setattr(lock, "STALE", 0.2)
    elsewhere(files, age)
    told = []
    with lock.hold(files, told.append):
        assert len(told) == 1 and "process 7 on elsewhere held it last" in told[0]


def test_the_heart_beats_while_the_clock_is_set_back(files, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.001)
    now = iter(range(10**9, 0, -1000))
    with lock.hold(files) as lease:
        monkeypatch.setattr(lock.time, "time", lambda: next(now))
        first = lock.local_holder(files)
        while lock.local_holder(files).beats < first.beats + 3:  # hangs if it does not
            pass
        lease.check()
        assert lock.local_holder(files).since == first.since


def test_who_lost_the_place_writes_no_more(files, monkeypatch):
    """Two machines that do not see each other's locks: the mark of the later one stands."""
    monkeypatch.setattr(lock, "BEAT", 0.001)
    before = set(threading.enumerate())
    with lock.hold(files) as lease:
        (heart,) = set(threading.enumerate()) - before
        elsewhere(files, age=0)
        heart.join(60)
        with pytest.raises(UserError, match="taken over by process 7 on elsewhere"):
            lease.check()
    assert mark.decode_holder((files.root / mark.MARK_NAME).read_bytes()).pid == 7  # and not taken from it


def test_who_slept_asks_before_he_writes(files, monkeypatch):
    with lock.hold(files) as lease:
        beats = lock.local_holder(files).beats
        lease.check()
        assert lock.local_holder(files).beats == beats
        now = time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda clock: now(clock) + lock.STALE)
        lease.check()
        assert lock.local_holder(files).beats == beats + 1


def test_a_mark_of_brackets_names_nobody():
    assert mark.decode_holder(b"[" * mark.MARK_BYTES) is None


def test_asking_touches_nothing(tmp_path):
    assert lock.holder(LocalFiles(tmp_path / "absent")) is None
    assert not (tmp_path / "absent").exists()


def test_nothing_beats_after_the_end(files):
    before = set(threading.enumerate())
    with lock.hold(files):
        assert len(set(threading.enumerate()) - before) == 1
    assert not set(threading.enumerate()) - before
    assert (files.root / mark.MARK_NAME).read_bytes() == b""

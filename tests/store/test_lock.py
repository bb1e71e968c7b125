from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from factory.errors import UserError
from factory.store import lock

HOLD = """
import sys, pathlib
from factory.store.lock import hold
with hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], **pipe)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_live_run_is_refused_and_named(tmp_path, other):
    assert lock.holder(tmp_path).pid == other.pid
    who = f"in use by process {other.pid} on {socket.gethostname()}"
    with pytest.raises(UserError, match=who), lock.hold(tmp_path):
        pass
    other.communicate("\n")
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path):
        assert lock.holder(tmp_path).pid == os.getpid()


def test_a_killed_run_is_gone_at_once(tmp_path, other):
    other.kill()
    other.wait()
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path):
        pass


def test_a_heartbeat_speaks_for_a_machine_whose_locks_we_do_not_see(tmp_path):
    now = time.time()
    mark = {"pid": 7, "host": "elsewhere", "since": now - 500, "beat": now - lock.STALE / 2}
    (tmp_path / lock.NAME).write_text(json.dumps(mark))
    assert lock.holder(tmp_path).host == "elsewhere"
    with pytest.raises(UserError, match="process 7 on elsewhere"), lock.hold(tmp_path):
        pass
    (tmp_path / lock.NAME).write_text(json.dumps({**mark, "beat": now - lock.STALE * 2}))
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path):
        pass


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.001)
    with lock.hold(tmp_path):
        first = lock.holder(tmp_path)
        while lock.holder(tmp_path).beat == first.beat:  # hangs if it does not
            pass
        assert lock.holder(tmp_path).since == first.since


def test_asking_touches_nothing(tmp_path):
    assert lock.holder(tmp_path / "absent") is None
    assert not list(tmp_path.iterdir())

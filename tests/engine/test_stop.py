"""A signal stops a run between two units, not in the middle of a file."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from factory.engine.stop import SIGNALS, Stop
from factory.errors import UserError


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_being_written_is_finished_first(number):
    outside = signal.signal(number, signal.default_int_handler)  # tests in the background may be deaf to it
    done, stop = [], Stop()
    try:
        with pytest.raises(KeyboardInterrupt), stop.heeded():
            with stop.shield():
                os.kill(os.getpid(), number)
                done.append("written")
            done.append("begun another")
        assert done == ["written"] and signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, outside)


def test_nothing_to_finish():
    with pytest.raises(KeyboardInterrupt), Stop().heeded():
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(10**9):  # the signal comes within an instruction or two
            pass


def test_the_second_signal_is_not_argued_with():
    child = os.fork()
    if not child:
        stop = Stop()
        with stop.heeded(), stop.shield():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Stop().heeded():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_that_sees_that_nothing_more_can_come_ends_the_wait():
    """Though not what is being written just then."""
    stop, written = Stop(), threading.Event()
    with pytest.raises(UserError, match="Ray has died"), stop.heeded(), stop.shield():
        thread = threading.Thread(target=stop.end, args=(UserError("Ray has died"),))
        thread.start()
        thread.join()
        written.set()
    assert written.is_set()
    waiting = Stop()
    with pytest.raises(UserError, match="Ray has died"), waiting.heeded():
        threading.Timer(0.1, waiting.end, (UserError("Ray has died"),)).start()
        threading.Event().wait(60)

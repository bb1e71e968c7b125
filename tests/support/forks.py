"""Work in a forked process, for programs that kill themselves again and again."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def exit_code(work: Callable[[], object]) -> int:
    """Of a forked process that does the work: negative where a signal ended it."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def import_as(work: Callable[[], object]) -> None:
    """Do the work in a forked process, and import here what it has imported: each later fork would import that anew."""
    with tempfile.NamedTemporaryFile("r") as names:

        def write() -> None:
            work()
            Path(names.name).write_text("\n".join(sys.modules))

        assert exit_code(write) == 0
        for name in names.read().split("\n"):
            with suppress(Exception):
                importlib.import_module(name)

"""Work in a forked process, for programs that kill themselves again and again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


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

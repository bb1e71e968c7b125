"""Kills an export at each single rename, lets it go on, and compares: for test_run.py.

A program of its own, because it forks once per kill and a test process has threads.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

from factory.export import hmr2
from factory.export import run as runs
from tests.support.files import export_tree
from tests.support.forks import exit_code, import_as

CONDITION = "key < 'hard_poses-00000030'"


def main(out: str, to: Path, name: str) -> None:
    runs.PIECE = hmr2.PIECE = 10  # three pieces of train, one of val
    runs.STEP = 5

    def whole() -> None:
        runs.export(out, str(to), name, "train=0.8,val=0.2", CONDITION)

    import_as(whole)
    expected, point = export_tree(to), 0
    shutil.rmtree(to)
    while (code := exit_code(partial(killed, whole, point))) == -signal.SIGKILL:
        assert exit_code(whole) == 0, f"rename {point}"
        assert export_tree(to) == expected, f"rename {point}: other bytes"
        shutil.rmtree(to)
        point += 1
    assert code == 0 and export_tree(to) == expected
    print(point)


def killed(work, point: int) -> None:
    left, replace = point, os.replace

    def counted(*args, **options) -> None:
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        replace(*args, **options)

    os.replace = counted
    work()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])

"""Disks that answer as no local disk does: a library compiled on the spot and preloaded into a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")


@cache
def library() -> str:
    """Path of the compiled library. Skips the test where no C compiler is."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler is here to make the odd disk with")
    path = Path(tempfile.mkdtemp(prefix="odd-disk-"), "odd_disk.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", path, SOURCE, "-ldl"], check=True)
    return str(path)


def environment(path: str = "", after: int = 0, **errors: int) -> dict[str, str]:
    """The environment of a process whose calls (flock, fsync, fsyncdir, rename, open, read, list) answer with the given
    errno where the path holds the text `path`; the first `after` of them succeed."""
    calls = ",".join(f"{call}={number}" for call, number in errors.items())
    return {**os.environ, "LD_PRELOAD": library(), "ODD_CALLS": calls, "ODD_PATH": path, "ODD_AFTER": str(after)}

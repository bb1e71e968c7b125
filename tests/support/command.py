"""The command, in this process or in one of its own, and what its answers must be like."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from factory import cli
from factory.weights.locate import PARTS, PREFIX, resolve

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]

TRAINED = all(Path(resolve(PREFIX + part)).exists() for part in PARTS)
needs_weights = pytest.mark.skipif(not TRAINED, reason="the starter pack's weights are not in this checkout")


def run_factory(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own: run_factory("plan", job) -> its result, text captured."""
    command = [sys.executable, "-m", "factory.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)  # type: ignore[call-overload]


def call_factory(*arguments: object) -> subprocess.CompletedProcess[str]:
    """As run_factory, within this process: without the seconds that a new one takes to import PyTorch and its like."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["factory", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())


def refused(result: subprocess.CompletedProcess[str], *expected: str) -> None:
    """One clear line, exit code 2, and nothing on standard output."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    for words in expected:
        assert words in result.stderr


def fresh(program: str, *arguments: object) -> dict:
    """Run the program in a process of its own that knows nothing of this package, as a trainer; it prints JSON."""
    block = "import sys\nsys.modules['factory'] = None\n"
    command = [sys.executable, "-c", block + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])

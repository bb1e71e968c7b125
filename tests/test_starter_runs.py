"""The demo's job, small, by the real command and models: engines agree, a killed run is made whole."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, call_factory, needs_weights

SMALL = {
    "records": 8,
    "unit_size": 2,
    "samples_per_shard": 4,
    "stages.generate.steps": 4,
    "stages.refine.steps": 4,
    "stages.render.min_coverage": 0,
}
FACTORY = Path(sys.executable).with_name("factory")
pytestmark = [needs_weights, pytest.mark.heavy(25)]


def demo(out: Path, engine: str) -> list[str]:
    """Arguments of the command."""
    overrides = {**SMALL, "engine": engine, "output": out}
    flags = [text for name, value in overrides.items() for text in ("--set", f"{name}={value}")]
    return ["run", str(ROOT / "jobs" / "demo.yaml"), *flags]


def hashes(out: Path) -> dict[str, str]:
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in (".lock", "job.json")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The oracle: one process, never stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert call_factory(*demo(out, "inline")).returncode == 0
    return out


def test_every_record_is_accounted_for(whole):
    from factory.store.status import status

    state = status(str(whole))
    assert state.complete and sum(state.states.values()) == 8 and not state.states.get("failed")
    assert state.states["ok"] >= 1


def test_ray_makes_the_same_bytes(whole, tmp_path):
    subprocess.run([FACTORY, *demo(tmp_path / "out", "ray")], check=True, capture_output=True)
    assert hashes(tmp_path / "out") == hashes(whole)


def test_a_run_killed_after_its_first_unit_is_made_whole(whole, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [FACTORY, *demo(out, "inline")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not list(out.glob("**/*.parquet")):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    again = call_factory(*demo(out, "inline"))
    assert again.returncode == 0 and "resumed" in again.stdout
    assert hashes(out) == hashes(whole)

"""A Ray of our own: from any folder, for any user, closed to everybody else; and one line when it dies."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from factory.engine import health
from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.store.status import status
from tests.support.command import ROOT
from tests.support.files import tree
from tests.support.seeded_stages import STAGES

NOBODY = 54321  # a user without an entry in /etc/passwd, as `docker --user` makes one
POISON = ("factory", "torch", "json", "numpy", "ray", "tests")
STALE = {"RAY_ADDRESS": "192.0.2.1:6379", "http_proxy": "http://127.0.0.1:9", "RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What `tests/engine/guest.py` tells of a run in a folder full of modules that must not be imported, by a user
    without a home, and where variables of other Rays are still set."""
    folder = tmp_path_factory.mktemp("guest")
    os.chmod(folder.parent, 0o755)
    os.chmod(folder, 0o777)
    for name in POISON:
        (folder / f"{name}.py").write_text("raise ImportError('this is not the module')\n")
    values = {
        "name": "small", "output": str(folder / "out"), "records": 12, "image_size": 64, "unit_size": 4,
        "samples_per_shard": 8, "seed": 3, "engine": "ray", "prompts": {"action": ["diving"]},
        "body": {"model": "none", "name": "none"},
        "stages": {
            "generate": {"model": "none"},
            "estimate": {"hmr": {"model": "none"}, "prior": {"model": "none"}, "detector": {"model": "none"}},
            "refine": {"model": "none"},
            "score": {"enabled": False},
        },
    }  # fmt: skip
    job = JobSpec.model_validate(values)
    command = [sys.executable, str(ROOT / "tests/engine/guest.py"), job.model_dump_json()]
    environment = {**os.environ, **STALE, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {name: value for name, value in environment.items() if name not in ("HOME", "TMPDIR")}
    other = shutil.which("setpriv") and os.geteuid() == 0
    if other:  # it may read everything, as the tree may lie in a home, and write next to nothing
        may = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *may, *command]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return {**told, "job": job, "said": done.stdout.splitlines()[:-1], "wrong": done.stderr, "other": other}


def test_runs_in_any_folder_whatever_lies_there(guest):
    job = guest["job"].model_copy(update={"engine": "inline", "output": guest["job"].output + ".inline"})
    assert guest["states"] == run_job(job, STAGES).states == {"ok": 9, "rejected": 2, "failed": 1}
    assert tree(guest["job"].output) == tree(job.output)


def test_runs_for_a_user_without_a_home_or_a_name(guest):
    if not guest["other"]:
        pytest.skip("needs root and setpriv")
    assert Path(guest["job"].output).stat().st_uid == NOBODY
    assert not Path("/.ray").exists()


def test_listens_on_loopback_alone(guest):
    assert len(guest["listening"]) > 5
    for name, address, port in guest["listening"]:
        ip = ipaddress.ip_address(address)
        assert (getattr(ip, "ipv4_mapped", None) or ip).is_loopback, (name, address, port)


def test_turns_away_whoever_lacks_the_token(guest):
    assert guest["friend"] == "let in" and guest["stranger"].endswith("Error")


def test_its_files_are_private_and_go_with_it(guest):
    assert guest["mode"] == "0o700" and not Path(guest["folder"]).exists()


def test_says_nothing_of_its_own(guest):
    assert guest["said"] == [] and guest["wrong"] == ""


@pytest.fixture
def on_ray(job: JobSpec) -> JobSpec:
    return job.model_copy(update={"engine": "ray"})


Family = list[psutil.Process]


def _struck(job: JobSpec, strike: Callable[[subprocess.Popen, Family], None]) -> tuple[int, str, str, list[int]]:
    """(exit code, stdout, stderr, pidfds of its family) of a run; after its first unit, `strike` got it and its family.
    What it had made is there, and nobody holds its pipes or its lock any more."""
    command = [sys.executable, "-m", "tests.support.run_to_kill", job.model_dump_json(), "Slower"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as process:
        assert process.stdout
        while not process.stdout.readline().startswith("unit"):
            assert process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True)
        ends = [os.pidfd_open(each.pid) for each in family]  # a dead one stays a zombie until it is asked after
        strike(process, family)
        said, wrong = process.communicate(timeout=120)
    assert status(job.output).units_done > 0 and status(job.output).live is None
    return process.returncode, said, wrong, ends


def _let_go(ends: list[int]) -> None:
    """End what is left of Ray's processes: they live on for minutes where nobody asks after the dead raylet."""
    for end in ends:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(end, signal.SIGKILL)
        os.close(end)


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_one_line_when_a_process_of_ray_dies(on_ray, name):
    """There was a minute of silence, and then pages; or no word at all. The next run goes on."""
    code, said, wrong, ends = _struck(
        on_ray, lambda _, family: next(each for each in family if each.name() == name).send_signal(signal.SIGKILL)
    )
    assert code == 1, wrong
    (line,) = wrong.strip().splitlines()
    assert line.startswith(f"error: engine: Ray's process {name}") and "(signal 9); what was finished is kept" in line
    assert "(raylet)" not in said
    _let_go(ends)
    assert run_job(on_ray.model_copy(update={"engine": "inline"}), STAGES).units_found > 0


def test_no_word_of_ray_when_it_was_the_run_that_was_killed(on_ray):
    """Ray's processes end because of it. The same after Ctrl-C: `tests/chaos/test_chaos.py`; after a normal end:
    `test_says_nothing_of_its_own`."""
    code, _, wrong, ends = _struck(on_ray, lambda process, _: process.kill())
    assert (code, wrong) == (-signal.SIGKILL, "")
    _let_go(ends)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # threads of Ray Data end so
def test_a_node_short_of_memory_ends_the_run_in_words(on_ray, monkeypatch):
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setattr(health, "BRIEF", 10.0)
    with pytest.raises(UserError, match=r"memory is short: .* has killed \d+ workers \(.* used on its node\)"):
        run_job(on_ray, STAGES)

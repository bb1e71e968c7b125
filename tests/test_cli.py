"""What the command answers. Where a process of its own matters, it has one."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.command import ROOT, Run, needs_weights, refused


def test_help_needs_nothing_heavy() -> None:
    """What takes long is importing PyTorch, Ray and their like: help must not."""
    code = "import sys; from factory.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "ray", "numpy", "pandas", "pyarrow", "pydantic", "transformers", "diffusers", "yaml"}


def test_every_verb_has_help(command: Run) -> None:
    shown = command("--help").stdout
    for verb in ("plan", "run", "status", "inspect", "verify", "doctor", "schema"):
        assert verb in shown


def test_plan(factory: Run, job_file: Path) -> None:
    result = factory("plan", job_file, "--set", "records=10")
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    assert words[words.index("records") + 1] == "10"
    assert words[words.index("units") + 1] == "5"
    assert words[words.index("shards") + 1] == "3"
    assert "small-00000000  a photo of a person doing" in result.stdout
    assert not (job_file.parent / "out").exists()


@pytest.mark.parametrize("verb", ["plan", "run", "doctor"])
def test_unknown_key(command: Run, job_file: Path, verb: str) -> None:
    job_file.write_text(job_file.read_text().replace("records:", "recrods:"))
    refused(command(verb, job_file), "job.yaml:3: unknown key 'recrods'; did you mean 'records'?")


def test_wrong_type(factory: Run, job_file: Path) -> None:
    refused(factory("run", job_file, "--set", "stages.refine.strength=strong"), "stages.refine.strength", "'strong'")


def test_unreadable_yaml(factory: Run, job_file: Path) -> None:
    job_file.write_text("name: [unclosed\n")
    refused(factory("run", job_file), "job.yaml:2: not valid YAML")


def test_missing_model_folder(factory: Run, job_file: Path) -> None:
    result = factory("run", job_file, "--set", "stages.refine.model=./weights/sd2-depth")
    refused(result, "stages.refine.model: no such file or folder: ./weights/sd2-depth")
    assert not (job_file.parent / "out").exists()


def test_model_neither_here_nor_on_the_hub(factory: Run, job_file: Path) -> None:
    result = factory("run", job_file, "--set", "stages.generate.model=weights/no-such-thing")
    refused(result, "stages.generate.model: weights/no-such-thing", "hub")


def test_disk_without_room(factory: Run, job_file: Path) -> None:
    size = ["--set", "records=90000000", "--set", "image_size=4096"]
    refused(factory("run", job_file, *size), "free")
    assert not (job_file.parent / "out").exists()


def test_output_of_another_job(factory: Run, job_file: Path, values: dict) -> None:
    from factory import config
    from factory.plan import plan
    from factory.store.ledger import open_ledger

    job = config.load_job(job_file)
    with open_ledger(job, plan(job)):
        pass
    before = sorted((path, path.stat().st_mtime_ns) for path in Path(job.output).rglob("*") if path.name != ".lock")
    refused(factory("run", job_file, "--set", "seed=7"), "seed", "7")
    after = sorted((path, path.stat().st_mtime_ns) for path in Path(job.output).rglob("*") if path.name != ".lock")
    assert after == before


def test_output_in_use(command: Run, job_file: Path) -> None:
    from factory import config
    from factory.plan import plan
    from factory.store.ledger import open_ledger

    job = config.load_job(job_file)
    with open_ledger(job, plan(job)):
        refused(command("run", job_file), "in use", str(os.getpid()))
        assert f"process {os.getpid()}" in command("status", job.output).stdout


@pytest.mark.parametrize("verb", ["status", "inspect", "verify"])
def test_no_data_set(factory: Run, tmp_path: Path, verb: str) -> None:
    refused(factory(verb, tmp_path / "nowhere"), "no data set")
    assert not (tmp_path / "nowhere").exists()


def test_doctor_tells_what_is_missing_and_from_where(factory: Run) -> None:
    result = factory("doctor", ROOT / "jobs" / "paper-smart-text.yaml")
    assert result.returncode == 1
    line = next(line for line in result.stdout.splitlines() if "body.model" in line)
    assert line.startswith("no") and "smpl.is.tue.mpg.de" in line and "non-commercial" in line


def test_doctor_without_job_is_content(factory: Run) -> None:
    result = factory("doctor")
    assert result.returncode == 0, result.stdout
    assert "torch" in result.stdout and "free" in result.stdout


@needs_weights
def test_run_status_verify_inspect_and_run_again(command: Run, factory: Run, job_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = command("run", job_file)
    assert first.returncode == 0, first.stderr
    assert "4 records in 1 shard" in first.stdout
    assert all(len(line) < 160 and "\x1b" not in line for line in first.stdout.splitlines())

    state = json.loads(factory("status", out, "--json").stdout)
    assert state["complete"] and sum(state["states"].values()) == 4
    assert factory("verify", out).returncode == 0
    assert "file://" in factory("inspect", out).stdout
    assert (out / "report.html").stat().st_size < 10e6

    again = factory("run", job_file)
    assert again.returncode == 0
    assert again.stdout.startswith(f"Nothing to do: {out} is complete.")
    assert factory("inspect", out).stdout.startswith("The report is up to date")
    assert factory("doctor", job_file).returncode == 0


@pytest.mark.heavy(14)
@needs_weights
def test_interrupt_keeps_what_is_done_and_says_how_to_go_on(job_file: Path, tmp_path: Path, factory: Run) -> None:
    arguments = ["run", str(job_file), "--set", "records=400", "--set", "unit_size=1"]
    command = [sys.executable, "-m", "tests.support.seeded_command", *arguments]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs are born deaf to Ctrl-C
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed, cwd=ROOT
    )
    assert process.stdout is not None
    process.stdout.readline()  # the first unit is done
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"kept in {tmp_path / 'out'}; the same command goes on from there" in stdout, stderr
    assert "Traceback" not in stderr
    state = json.loads(factory("status", tmp_path / "out", "--json").stdout)
    assert 0 < state["units_done"] < 400 and state["live"] is None

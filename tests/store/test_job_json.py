"""The format of a data set: one of the version before opens everywhere, a newer one is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import factory
from factory.engine.run import run_job
from factory.errors import UserError
from factory.export.formats import FORMATS
from factory.job import JobSpec
from factory.present import card
from factory.store.dataset import open_data
from factory.store.job_json import FORMAT
from tests.support.command import ROOT, call_factory, refused
from tests.support.files import tree
from tests.support.seeded_stages import STAGES

OLD = ROOT / "tests" / "support" / "old_data_set"  # of format 1: job.json does not name its format

COMMANDS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "status": lambda out: ("status", out),
    "stats": lambda out: ("stats", out),
    "inspect": lambda out: ("inspect", out),
    "verify": lambda out: ("verify", out),
    "repair": lambda out: ("verify", out, "--repair"),
    "retry": lambda out: ("retry", out),
    **{name: lambda out, name=name: ("export", out, "--format", name, "--to", f"{out}-{name}") for name in FORMATS},
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def renumbered(out: Path, number: object) -> None:
    path = out / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": number}))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_data_set_of_the_version_before_is_read_by_every_command(old: Path, name: str) -> None:
    result = call_factory(*COMMANDS[name](old))
    assert result.returncode == 0, result.stderr
    told = {"status": "6 of 6 done", "stats": "pose_score", "verify": "Sound: 1 shard, 6 samples", "inspect": "Report"}
    assert told.get(name, "") in result.stdout
    if name in FORMATS:
        assert call_factory("validate", f"{old}-{name}", "--format", name).returncode == 0


def test_a_data_set_of_the_version_before_is_read_by_programs(old: Path) -> None:
    data = factory.open(old)
    assert data.stored.format == 1 and "format" not in json.loads((old / "job.json").read_text())
    samples = list(data.samples())
    people = list(factory.load(old, crop=32, train=False))
    assert len(samples) == 6 and len(people) == sum(len(sample.people["pose"]) for sample in samples) > 0
    assert not card.write_card(data)  # its card still fits


def test_a_run_goes_on_with_a_data_set_of_format_1_and_leaves_its_number(job: JobSpec) -> None:
    run_job(job, STAGES)
    path = Path(job.output, "job.json")
    stored, whole = json.loads(path.read_text()), tree(job.output)
    assert stored["format"] == FORMAT
    del stored["format"]
    path.write_text(json.dumps(stored))
    Path(job.output, "small-000001.parquet").unlink()
    assert run_job(job, STAGES).units_done == 2
    assert tree(job.output) == whole and open_data(job.output).stored.format == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_newer_data_set_is_refused_by_every_command(old: Path, name: str) -> None:
    renumbered(old, FORMAT + 1)
    before = tree(old)
    words = f"made by a newer version of factory (job.json has format {FORMAT + 1}, this version reads up to {FORMAT})"
    refused(call_factory(*COMMANDS[name](old)), words, "; update factory")
    assert tree(old) == before and [path.name for path in old.parent.iterdir()] == [old.name]


def test_a_newer_data_set_is_refused_by_programs_and_by_a_run(job: JobSpec) -> None:
    run_job(job, STAGES)
    renumbered(Path(job.output), FORMAT + 1)
    for ask in (factory.open, factory.load, lambda out: run_job(job, STAGES)):
        with pytest.raises(UserError, match="made by a newer version of factory"):
            ask(job.output)


@pytest.mark.parametrize("number", [0, -1, "2", True, None, 1.5])
def test_a_format_that_is_none_is_refused(old: Path, number: object) -> None:
    renumbered(old, number)
    with pytest.raises(UserError, match="job.json: not a job this version can read .its format is"):
        open_data(old)

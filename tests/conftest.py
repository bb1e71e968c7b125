"""Fixtures of more than one folder: the smallest complete jobs, and the real command."""

from __future__ import annotations

import copy
import os
from collections import Counter
from pathlib import Path

# Before what reads them is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: more threads only wait for each other
os.environ |= {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "TRANSFORMERS_VERBOSITY": "error"}

import hypothesis
import pytest
import yaml

from factory.engine.run import run_job
from factory.job import JobSpec

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")
pytest.register_assert_rewrite("tests.support")
pytest_plugins = ["tests.support.tiny_models"]

from tests.support.command import ROOT, Run, call_factory, run_factory  # noqa: E402 - after the rewriting of its asserts
from tests.support.seeded_stages import STAGES  # noqa: E402

# Seconds of a core that a test may take: one with such a fixture, one in such a folder.
BY_FIXTURE = {"command": 5, "nodes": 5, "on_ray": 10, "cluster": 10, "guest": 5, "url": 1}
BY_FOLDER = {
    "chaos": 30,
    "starter": 5,
    "training": 5,
    "evaluate": 5,
    "finetune": 2,
    "experiment": 3,
    "stages": 1,
    "doctor": 1,
    "models": 0.3,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as heavy what starts processes, Ray or a training, and begin with the files that take longest: no process
    is then left alone with a long one at the end."""
    cost: Counter[str] = Counter()
    for item in items:
        folder, fixtures = item.path.relative_to(ROOT / "tests").parts[0], getattr(item, "fixturenames", ())
        seconds = max(BY_FOLDER.get(folder, 0), *(BY_FIXTURE.get(name, 0) for name in fixtures), 0)
        if seconds:
            item.add_marker(pytest.mark.heavy(seconds))
        if not item.get_closest_marker("slow"):
            cost[str(item.path)] += max((mark.args[0] for mark in item.iter_markers("heavy")), default=0)
    items.sort(key=lambda item: -cost[str(item.path)])  # stable: within a file, and among light ones, all stays


@pytest.fixture
def values(tmp_path: Path) -> dict:
    """Plain values of a small valid job on the starter pack; its output lies in tmp_path."""
    return {
        "name": "small",
        "output": str(tmp_path / "out"),
        "records": 4,
        "image_size": 128,
        "unit_size": 2,
        "samples_per_shard": 4,
        "engine": "inline",
        "prompts": {"action": ["walking", "diving"]},
        "body": {"model": "starter:body", "name": "open-body"},
        "stages": {
            "generate": {"model": "starter:text-to-image", "steps": 2},
            "estimate": {
                "hmr": {"model": "starter:hmr"},
                "prior": {"model": "starter:vposer"},
                "detector": {"model": "starter:detector"},
                "easy": "refine",
            },
            "refine": {"model": "starter:depth-to-image", "steps": 2},
        },
        "sample": {"extras": ["initial", "depth", "masks"]},
    }


@pytest.fixture
def job_file(tmp_path: Path, values: dict) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture
def job(values: dict) -> JobSpec:
    """For stores and engines, on stages without a model: 22 records of 4 a unit and 8 a shard; the last unit and shard
    are short."""
    nothing = {"model": "none"}  # a run need not digest models that it does not use
    stages = copy.deepcopy(values["stages"])
    stages["estimate"] |= {"hmr": nothing, "prior": nothing, "detector": nothing}
    for stage in ("generate", "refine"):
        stages[stage] |= nothing
    body = {"model": "none", "name": "none"}
    sizes = {"records": 22, "image_size": 64, "unit_size": 4, "samples_per_shard": 8}
    return JobSpec.model_validate({**values, **sizes, "body": body, "stages": stages})


@pytest.fixture
def out(job: JobSpec) -> Path:
    """The data set of `job`, finished."""
    run_job(job, STAGES)
    return Path(job.output)


@pytest.fixture
def factory() -> Run:
    """factory("plan", job) -> what the command answers, text captured. It runs in this process: see `command`."""
    return call_factory


@pytest.fixture
def command() -> Run:
    """command("plan", job) -> what the real command answers in a process of its own, text captured. It takes seconds
    more than `factory`: for what has to do with processes."""
    return run_factory

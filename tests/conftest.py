"""What tests share: the smallest complete job, and the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]


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
def factory() -> Run:
    """Run the real command in a process of its own: factory("plan", job) -> its result, text captured."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "factory.cli", *map(str, arguments)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
        return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, **options)

    return run

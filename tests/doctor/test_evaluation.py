"""The doctor on the weights of evaluations: what is here, and where to get the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from factory.doctor.evaluation import evaluation_weights
from factory.doctor.finding import Finding
from factory.job import JobSpec
from tests.support.command import Run

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"


def found(job: JobSpec | None = None) -> dict[str, Finding]:
    return {finding.name: finding for finding in evaluation_weights(job)}


def test_weights_that_are_not_here_are_told_with_source_and_licence(tmp_path, monkeypatch, factory: Run) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    lines = factory("doctor", "--evaluation").stdout.splitlines()
    for name, words, licence in (
        ("images: inception", f"get {INCEPTION} from the releases of https://github.com/toshas", "(Apache-2.0)"),
        ("images: dinov2", "get facebook/dinov2-large from the hub", "(Apache-2.0)"),
        ("images: clip", "get openai/clip-vit-large-patch14-336 from the hub", "(MIT)"),
        ("hmr: joint regressor", "get J_regressor_h36m.npy from SPIN's fetch_data.sh", "non-commercial"),
    ):
        line = next(line for line in lines if name in line)
        assert line.startswith("-") and words in line and licence in line
    assert not any("images: inception" in line for line in factory("doctor").stdout.splitlines())


def test_weights_that_are_here_and_a_body_of_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / INCEPTION).write_bytes(b"anything")
    np.save(tmp_path / "J_regressor_h36m.npy", np.zeros(1))
    job = JobSpec.model_validate({**values, "body": {"model": str(tmp_path / "SMPL_NEUTRAL.npz"), "name": "smpl"}})
    findings = found(job)
    assert findings["images: inception"].ok and "Apache-2.0" in findings["images: inception"].says
    assert findings["hmr: joint regressor"].ok


def test_a_pointer_in_the_place_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / INCEPTION).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert found()["images: inception"].fault and "Git LFS pointer" in found()["images: inception"].says

"""A tiny estimator, and an experiment that takes seconds: people in files instead of a domain and made data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from factory.finetune.network_files import write_network
from factory.geometry.rotations import axis_angle_to_matrix, matrix_to_sixd
from factory.models.hmr.part_hmr import PartHMR
from tests.support.labelled_people import write_people


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with start/ (a tiny network), real/, synthetic/ and held-out/ (people.npz each)."""
    folder = tmp_path_factory.mktemp("people")
    torch.manual_seed(0)
    network = PartHMR([1, 1, 1, 1], 8, 32, 48, 4)
    upright = torch.zeros(24, 3)
    upright[0, 0] = torch.pi
    network.init_pose[:] = matrix_to_sixd(axis_angle_to_matrix(upright)).flatten()
    write_network(network, network.config, folder / "start")
    write_people(folder / "real", 6, bodies=False)
    write_people(folder / "synthetic", 6, seed=1)
    write_people(folder / "held-out", 4, seed=2)
    return folder


@pytest.fixture
def values(people: Path, tmp_path: Path) -> dict:
    """Plain values of an experiment with two rows, two shares and two seeds; its output lies in tmp_path."""
    return {
        "name": "tiny",
        "output": str(tmp_path / "out"),
        "table": 2,
        "estimators": {
            "model": str(people / "start"),
            "real": str(people / "real" / "people.npz"),
            "test": str(people / "held-out" / "people.npz"),
            "shares": [0.5, 1],
            "methods": {
                "none": {"method": "none", "label": "not trained", "paper": "SPIN"},
                "2d": {"method": "2d"},
                "ours": {
                    "method": "ours",
                    "data": [str(people / "synthetic" / "people.npz")],
                    "paper": "Diffusion-HPC",
                },
                "controlnet": {"method": "controlnet", "missing": "nothing draws from keypoints here"},
            },
        },
        "seeds": [0, 1],
        "steps": 2,
        "batch": 2,
        "every": 1,
    }


@pytest.fixture
def written(values: dict, tmp_path: Path) -> Callable[..., Path]:
    """Writes the experiment to a file; changes: of its top-level fields."""

    def write(**changes: object) -> Path:
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump({**values, **changes}, sort_keys=False))
        return file

    return write

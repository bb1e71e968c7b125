"""A tiny estimator and people to fine-tune it on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from factory.finetune.network_files import write_network
from factory.geometry.rotations import axis_angle_to_matrix, matrix_to_sixd
from factory.job import JobSpec
from factory.models.hmr.part_hmr import PartHMR
from tests.support import small
from tests.support.labelled_people import write_people


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of random weights, whose mean body stands upright, as a folder."""
    torch.manual_seed(0)
    network = PartHMR([1, 1, 1, 1], 8, 32, 48, 4)
    upright = torch.zeros(24, 3)
    upright[0, 0] = torch.pi
    network.init_pose[:] = matrix_to_sixd(axis_angle_to_matrix(upright)).flatten()
    folder = tmp_path_factory.mktemp("start") / "model"
    write_network(network, network.config, folder)
    return folder


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 people with 2D keypoints alone."""
    return write_people(tmp_path_factory.mktemp("people") / "real", 12, bodies=False)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 people with bodies."""
    return write_people(tmp_path_factory.mktemp("people") / "synthetic", 16, seed=1)


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 people with bodies, to measure by."""
    return write_people(tmp_path_factory.mktemp("people") / "held-out", 8, seed=2)


@pytest.fixture(scope="session")
def data_set(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of the factory, made from the 12 real images: 12 samples, of which 3 is rejected."""
    out = tmp_path_factory.mktemp("data") / "out"
    nothing = {"model": "none"}
    values = {
        "name": "pairs", "output": str(out), "records": 12, "image_size": 64, "unit_size": 12, "samples_per_shard": 12,
        "engine": "inline", "body": {"model": "starter:body", "name": "mine"},
        "images": {"kind": "folder", "path": str(real.parent), "min_side": 16}, "prompts": {"action": ["vault"]},
        "stages": {
            "generate": {}, "estimate": {"hmr": nothing, "prior": nothing, "detector": nothing}, "refine": nothing,
        },
    }  # fmt: skip
    small.make(JobSpec.model_validate(values), two=())
    return out

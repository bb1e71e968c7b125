"""One data set of real bodies for all tests of exports, made by the real engine and store; and readers of exports."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from factory.engine.run import run
from factory.export.run import export
from factory.job import JobSpec
from tests.export.stages import STAGES

SPLIT = "train=0.8,val=0.2"


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 records, 216 planned to be ok (one of them fails), about 290 people; 4 shards. Its name holds a "_"."""
    out = tmp_path_factory.mktemp("data") / "out"
    run(job(out, 240), STAGES)
    return out


def job(out: Path, records: int) -> JobSpec:
    estimate = {"hmr": {"model": "-"}, "prior": {"model": "-"}, "detector": {"model": "-"}}
    stages = {"generate": {"model": "-"}, "estimate": estimate, "refine": {"model": "-"}}
    return JobSpec.model_validate(
        {
            "name": "hard_poses", "output": str(out), "records": records, "image_size": 64, "unit_size": 20,
            "samples_per_shard": 60, "engine": "inline", "prompts": {"action": ["walking", "diving"]},
            "body": {"model": "starter:body", "name": "open-body"}, "stages": stages,
        }
    )  # fmt: skip


@pytest.fixture(scope="session")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Format -> the data set in that format, with a train and a val split; made once."""

    @cache
    def make(name: str) -> Path:
        to = tmp_path_factory.mktemp("exports") / name
        export(str(dataset), str(to), name, SPLIT)
        return to

    return make


@pytest.fixture(scope="session")
def labels(dataset: Path) -> dict[str, dict[str, np.ndarray]]:
    """Key -> the arrays of its smpl.npz, read with tarfile and numpy alone: what every export must tell."""
    found = {}
    for path in sorted(dataset.glob("*.tar")):
        with tarfile.open(path) as archive:
            for info in archive:
                key, _, extension = info.name.partition(".")
                if extension == "smpl.npz":
                    with np.load(io.BytesIO(archive.extractfile(info).read())) as arrays:  # type: ignore[union-attr]
                        found[key] = dict(arrays)
    return found


def fresh(program: str, *arguments: object) -> dict:
    """Run the program in a process of its own that knows nothing of this package, as a trainer; it prints JSON."""
    block = "import sys\nsys.modules['factory'] = None\n"
    command = [sys.executable, "-c", block + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def projected(K: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(M, J, 2) px of points (M, J, 3) m in the camera frame; K (M, 3, 3)."""
    projected = np.einsum("mij,mpj->mpi", K.astype(np.float64), points.astype(np.float64))
    return projected[..., :2] / projected[..., 2:]


def weak_to_transl(camera: np.ndarray, center: np.ndarray, side: np.ndarray, K: np.ndarray) -> np.ndarray:
    """The formula of the weak-perspective camera, stated anew: (M, 3) m."""
    bs = side * camera[:, 0] + 1e-9
    tz = 2 * K[:, 0, 0] / bs
    xy = 2 * (center - K[:, :2, 2]) / bs[:, None] + camera[:, 1:]
    return np.concatenate([xy, tz[:, None]], 1)

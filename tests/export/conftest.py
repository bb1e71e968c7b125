"""One data set of real bodies for all tests of exports, made by the real engine and store; and readers of exports."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from factory.engine.run import run_job
from factory.export.run import export
from tests.support.exports import SPLIT
from tests.support.posed_stages import STAGES, job


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 records, 216 planned to be ok (one of them fails), about 290 people; 4 shards. Its name holds a "_"."""
    out = tmp_path_factory.mktemp("data") / "out"
    run_job(job(out, 240), STAGES)
    return out


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

"""The shards as others read them: every reader sees the same keys, and the same fields in every sample."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from factory.engine.run import run_job
from factory.store.dataset import open_data
from factory.store.sample import extensions
from tests.support.seeded_stages import STAGES


@pytest.fixture
def shards(job) -> list[str]:
    run_job(job, STAGES)
    return sorted(map(str, Path(job.output).glob("*.tar")))


@pytest.fixture
def keys(job, shards) -> list[str]:
    rows = open_data(job.output).rows.to_pylist()
    assert len(rows) == 22
    return [row["key"] for row in rows if row["state"] == "ok"]


def test_tarfile_and_gnu_tar(job, shards, keys):
    expected = [f"{key}.{ending}" for key in keys for ending in extensions(job)]
    names, listed = [], []
    for shard in shards:
        with tarfile.open(shard) as archive:
            names += archive.getnames()
        done = subprocess.run(["tar", "-tf", shard], capture_output=True, text=True, check=True)
        assert not done.stderr
        listed += done.stdout.split()
    assert names == listed == expected


def test_webdataset(job, shards, keys):
    import webdataset

    samples = list(webdataset.WebDataset(shards, shardshuffle=False, nodesplitter=None))
    assert [sample["__key__"] for sample in samples] == keys
    fields = {frozenset(name for name in sample if not name.startswith("__")) for sample in samples}
    assert fields == {frozenset(extensions(job))}
    decoded = next(iter(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")))
    assert decoded["jpg"].shape == (64, 64, 3) and decoded["depth.npy"].shape == (64, 64)
    assert decoded["json"]["key"] == keys[0]
    assert dict(decoded["smpl.npz"])["pose"].shape == (2, 72)


def test_hugging_face_datasets(job, shards, keys, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra 'test' is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("webdataset", data_files=shards, cache_dir=str(tmp_path / "cache"))["train"]
    assert list(loaded["__key__"]) == keys
    assert set(loaded.features) - {"__key__", "__url__"} == set(extensions(job))
    for row in loaded:
        assert row["json"]["key"] == row["__key__"] and row["jpg"].size == (64, 64)
        assert np.array(row["smpl.npz"]["joints2d"]).shape == (row["json"]["people"], 49, 3)


def test_a_row_finds_its_sample(job, shards, keys):
    rows = [row for row in open_data(job.output).rows.to_pylist() if row["size"]]
    for row in rows:
        files = open_data(job.output).sample_files(row)
        assert list(files) == extensions(job)
        assert np.load(io.BytesIO(files["smpl.npz"]))["pose"].shape == (row["people"], 72)
    with pytest.raises(KeyError):
        open_data(job.output).sample_files({**rows[0], "key": "small-00000004"})  # rejected

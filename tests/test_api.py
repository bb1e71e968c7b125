"""What a program has of the package: `factory.run`, `factory.open`, `factory.load`."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import factory
from factory.engine.run import run_job
from factory.store.fs import LocalFiles
from factory.store.sample import PERSON_ARRAYS
from tests.support.command import needs_weights
from tests.support.seeded_stages import STAGES


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, factory; print(dir(factory)); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, modules = result.stdout.splitlines()
    assert all(name in names for name in factory.__all__)
    assert not set(modules.split()) & {"torch", "ray", "numpy", "pyarrow", "pydantic", "yaml"}


def test_every_public_name_is_there_and_no_other() -> None:
    for name in factory.__all__:
        assert getattr(factory, name)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = factory.lode


def test_an_opened_data_set_has_rows_samples_and_its_job(job) -> None:
    run_job(job, STAGES)
    data = factory.open(job.output)
    assert isinstance(data, factory.DataSet) and data.job == job
    rows = data.rows.to_pylist()
    assert [row["key"] for row in rows] == [f"small-{i:08d}" for i in range(22)]
    samples = list(data.samples())
    assert [sample.key for sample in samples] == [row["key"] for row in rows if row["size"]]
    sample = samples[0]
    assert sample.image.shape == sample.initial.shape == (64, 64, 3) and sample.image.dtype == np.uint8
    assert sample.depth.shape == (64, 64) and sample.depth.dtype == np.float32
    assert sample.person_mask.shape == sample.object_mask.shape == (64, 64) and sample.person_mask.dtype == bool
    count = sample.about.people
    assert {name: array.shape for name, array in sample.people.items()} == {
        name: (count, *shape) for name, shape in PERSON_ARRAYS.items()
    }
    first = next(row for row in rows if row["size"])
    again, files = data.sample(first), data.sample_files(first)
    np.testing.assert_array_equal(again.image, sample.image)
    np.testing.assert_array_equal(again.image, np.asarray(Image.open(io.BytesIO(files["jpg"]))))


def test_a_condition_chooses_samples(job) -> None:
    run_job(job, STAGES)
    data = factory.open(job.output)
    middle = sorted(row["pose_score"] for row in data.rows.to_pylist() if row["size"])[8]
    keys = [sample.key for sample in data.samples(f"score > {middle!r}")]
    assert keys == [row["key"] for row in data.rows.to_pylist() if row["size"] and row["pose_score"] > middle] != []
    with pytest.raises(factory.UserError, match="did you mean pose_score"):
        data.samples("posescore > 3")


def test_what_an_open_data_set_lacks_is_one_line(job, tmp_path) -> None:
    with pytest.raises(factory.UserError, match="no data set is there"):
        factory.open(tmp_path)
    run_job(job, STAGES)
    data = factory.open(job.output)
    rejected = next(row for row in data.rows.to_pylist() if not row["size"])
    with pytest.raises(factory.UserError, match=f"sample {rejected['key']} is damaged"):
        data.sample(rejected)


def test_reading_one_sample_reads_nothing_but_its_bytes(job, monkeypatch) -> None:
    """Neither the job nor the listing nor an index, once the data set is open and its rows are known."""
    run_job(job, STAGES)
    data = factory.open(job.output)
    rows, asked = [row for row in data.rows.to_pylist() if row["size"]], []
    read = LocalFiles.read
    monkeypatch.setattr(LocalFiles, "read", lambda self, *place: asked.append(place) or read(self, *place))
    monkeypatch.setattr(LocalFiles, "sizes", lambda self: asked.append("listing"))
    for row in rows:
        data.sample(row)
    assert asked == [(f"small-{row['shard']:06d}.tar", row["offset"], row["size"]) for row in rows]


@needs_weights
def test_a_program_runs_a_job(job_file: Path, tmp_path: Path) -> None:
    events: list[str] = []
    summary = factory.run(job_file, ["records=2"], on_event=lambda event: events.append(event.kind))
    kinds = [kind for kind in events if kind != "waiting"]  # a slow machine is told of
    assert summary.planned == 2 and kinds == ["resumed", "unit", "sealed"]
    assert (tmp_path / "out" / "README.md").exists()
    assert factory.open(tmp_path / "out").rows.num_rows == 2
    assert factory.run(job_file, ["records=2"]).units_done == 0
    with pytest.raises(factory.UserError, match="recods"):
        factory.run(job_file, ["recods=2"])

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from factory.job import JobSpec
from factory.plan import plan
from factory.record import State, Unit
from factory.store import sample, tar
from factory.store.index import index_table
from factory.store.part import pack
from factory.store.sample import PERSON_ARRAYS, encode_sample
from tests.support.seeded_stages import STAGES


@pytest.fixture
def job(job) -> JobSpec:
    values = job.model_dump()
    values["stages"]["estimate"]["hmr"]["model"] = "spin"
    return JobSpec.model_validate(values)


@pytest.fixture
def unit(job) -> Unit:
    unit = plan(job).unit(0, 0)
    for stage in STAGES:
        unit = stage(job)(unit)
    return unit


def test_a_sample_holds_what_the_record_held(job, unit):
    record = unit.records[0]
    files = {name.removeprefix(record.key + "."): data for name, data in encode_sample(record, job)}
    assert list(files) == sample.extensions(job)
    told = sample.SampleJson.model_validate_json(files["json"])
    assert (told.key, told.seed, told.prompt, told.people) == (record.key, record.seed, record.prompt, 2)
    assert (told.body, told.models.hmr) == (job.body.name, "spin")
    assert list(json.loads(files["json"])) == sorted(json.loads(files["json"]))
    with np.load(io.BytesIO(files["smpl.npz"]), allow_pickle=False) as arrays:
        assert {name: arrays[name].shape for name in arrays.files} == {n: (2, *s) for n, s in PERSON_ARRAYS.items()}
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype(np.float32)}
        person = record.people[1]
        np.testing.assert_array_equal(arrays["pose"][1, :3], person.global_orient.astype(np.float32))
        np.testing.assert_array_equal(arrays["pose"][1, 3:], person.body_pose.astype(np.float32))
        np.testing.assert_array_equal(arrays["K"][1], person.K.astype(np.float32))
    np.testing.assert_array_equal(np.load(io.BytesIO(files["depth.npy"])), record.depth)
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(files["person.png"]))) > 0, record.person_mask)
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(files["object.png"]))) > 0, record.object_mask)
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None], (1, 64, 3))
    record.final = record.initial = smooth
    files = dict(encode_sample(record, job))
    for ending in ("jpg", "initial.jpg"):
        image = np.array(Image.open(io.BytesIO(files[f"{record.key}.{ending}"])), int)
        assert abs(image - smooth).max() <= 4


def test_the_json_names_all_that_drew_the_sample(job, unit):
    values = job.model_dump()
    values["stages"]["generate"] |= {"model": "sd14", "revision": "v1", "adapter": "loras/a.safetensors"}
    values["stages"]["refine"] |= {"kind": "controlnet", "model": "sd15", "controlnet": "depth", "adapter": "loras/b"}

    def told(**changes) -> dict:
        spec = JobSpec.model_validate({**values, **changes})
        return json.loads(dict(encode_sample(unit.records[0], spec))[f"{unit.records[0].key}.json"])["models"]

    models = told()
    assert models["generate"] == "sd14@v1" and models["generate_adapter"] == "loras/a.safetensors"
    assert (models["refine"], models["controlnet"], models["refine_adapter"]) == ("sd15", "depth", "loras/b")
    real = told(images={"path": "x"}, poses={"path": "y"})  # neither drawn nor estimated
    assert real == {**models, "generate": "", "generate_adapter": "", "hmr": ""}


def test_npz_bytes_know_no_clock(monkeypatch):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32(1)}
    first = sample.npz_bytes(arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert sample.npz_bytes(arrays) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_without_extras_a_sample_is_three_files(job, unit):
    bare = job.model_copy(update={"sample": job.sample.model_copy(update={"extras": []})})
    assert [name.partition(".")[2] for name, _ in encode_sample(unit.records[0], bare)] == ["jpg", "json", "smpl.npz"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: setattr(r, "final", None), "no stage made final"),
        (lambda r: setattr(r, "depth", None), "no stage made depth"),
        (lambda r: setattr(r, "final", r.final[:32]), "final image"),
        (lambda r: setattr(r.people[0], "betas", np.zeros(11)), "betas"),
        (lambda r: setattr(r.people[0], "transl", np.full(3, np.nan)), "transl is not finite"),
        (lambda r: setattr(r, "metrics", {"oks": float("inf")}), "JSON"),
    ],
)
def test_what_cannot_be_written_fails_that_record_alone(job, unit, spoil, words):
    spoil(unit.records[1])
    part = pack(unit, job)
    assert [record.state for record in unit.records] == [State.OK, State.FAILED, State.OK, State.OK]
    row = index_table(part.rows)[0].to_pylist()[1]
    assert (row["state"], row["stage"], row["size"]) == ("failed", "store", 0) and words in row["error"]
    assert unit.records[1].key not in {name.partition(".")[0] for name, _ in tar.tar_members(part.tar)}


def test_the_index_tells_where_each_sample_lies(job):
    unit = plan(job).unit(0, 1)  # of which one is rejected and one fails
    for stage in STAGES:
        unit = stage(job)(unit)
    part = pack(unit, job)
    rows = index_table(part.rows)[0].to_pylist()
    assert sum(row["size"] for row in rows) == len(part.tar)
    for row in rows:
        names = [name for name, _ in tar.tar_members(part.tar[row["offset"] : row["offset"] + row["size"]])]
        assert names == ([f"{row['key']}.{e}" for e in sample.extensions(job)] if row["state"] == "ok" else [])
    failed = rows[3]
    assert (failed["state"], failed["stage"], failed["error"]) == ("failed", "render", "ArithmeticError: seven is odd")
    assert (rows[0]["state"], rows[0]["reason"], rows[0]["stage"]) == ("rejected", "easy", "estimate")

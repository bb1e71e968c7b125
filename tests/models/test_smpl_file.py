"""SMPL's own files: the .npz and the official pickle, whole, poor, damaged and hostile."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csc_matrix

from factory.errors import UserError
from factory.models import smpl_file
from factory.models.body import BodyModel
from factory.models.locate import resolve
from factory.models.smpl_file import EXTRA, EXTRA_FILE
from tests.models.smpl_files import arrays, chumpy_array, dump, write_pickle


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    return write_pickle(tmp_path_factory.mktemp("smpl"))


def test_the_official_pickle_is_the_same_body_and_converted_once(official, cache, monkeypatch):
    """chumpy arrays, a scipy matrix, more shape directions than ten, unsigned integers: posed, it is the body it was
    made of. The second time, the .npz is read."""
    body, plain = BodyModel(official), BodyModel("starter:body")
    random = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, n, generator=random) * 0.3 for n in (3, 69, 10, 3)]
    for ours, theirs in zip(body(*parts), plain(*parts), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert torch.equal(body.faces, plain.faces)
    assert len(list(cache.rglob("*"))) == 2  # a folder and the .npz in it
    monkeypatch.setattr(smpl_file, "convert", lambda path: pytest.fail("converted again"))
    again = smpl_file.read(official)
    assert np.array_equal(again["v_template"], body.smpl.v_template.numpy())


def test_a_home_that_cannot_be_written_is_no_fault(official, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert smpl_file.read(official)["shapedirs"].shape == (6890, 3, 12)


@pytest.mark.parametrize("protocol", [0, 2])
def test_old_protocols(tmp_path, protocol):
    content = {
        "J_regressor": csc_matrix(np.eye(3)),
        "f": np.arange(6, dtype=np.uint32),
        "v_template": chumpy_array(np.ones(2)),
    }
    (tmp_path / "a.pkl").write_bytes(dump(content, protocol))
    found = smpl_file.convert(tmp_path / "a.pkl")
    assert found["J_regressor"].tolist() == np.eye(3).tolist() and found["f"].tolist() == list(range(6))
    assert found["v_template"].tolist() == [1, 1]


class Boom:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, protocol):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(dump({"f": np.arange(3), "hidden": Boom(tmp_path / "ran")}, protocol))
    with pytest.raises(UserError, match="holds more than arrays .* not opened"):
        BodyModel(path)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_something_else(tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    for content, words in (([1, 2], "no dict"), ({"v_template": np.zeros(3)}, "lacks shapedirs")):
        np.save(tmp_path / EXTRA_FILE, np.zeros((9, 6890)))
        path.write_bytes(dump(content, 2))
        with pytest.raises(UserError, match=words):
            smpl_file.read(path)


def test_damaged_files(tmp_path, official):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(official.read_bytes()[:100_000])
    with pytest.raises(UserError, match="SMPL_NEUTRAL.pkl is damaged .* fetch it again"):
        smpl_file.read(path)
    whole = Path(resolve("starter:body")).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cut.npz is damaged"):
        smpl_file.read(tmp_path / "cut.npz")
    (tmp_path / "text.npz").write_text("<html>")
    with pytest.raises(UserError, match="text.npz is damaged"):
        smpl_file.read(tmp_path / "text.npz")


def test_the_extra_regressor_lies_beside_or_inside(tmp_path):
    data = arrays(10)
    extra = data.pop(EXTRA)
    path = tmp_path / "SMPL_MALE.npz"
    np.savez(path, **data, J_regressor_prior=np.array({"an": "object"}, object))
    with pytest.raises(UserError, match=f"{EXTRA_FILE} must lie beside it .* fetch_data.sh"):
        smpl_file.read(path)
    np.save(tmp_path / EXTRA_FILE, extra)
    assert np.array_equal(smpl_file.read(path)[EXTRA], extra.astype(np.float32))
    (tmp_path / EXTRA_FILE).write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=f"{EXTRA_FILE} is damaged"):
        smpl_file.read(path)


def test_another_body_is_told_apart(tmp_path):
    data = arrays(10) | {"weights": np.zeros((6890, 52))}  # SMPL-H
    np.savez(tmp_path / "SMPLH.npz", **data)
    with pytest.raises(UserError, match=r"weights is \(6890, 52\), not \(6890, 24\); SMPL is expected"):
        smpl_file.read(tmp_path / "SMPLH.npz")
    np.savez(tmp_path / "few.npz", **(arrays(10) | {"shapedirs": np.zeros((6890, 3, 8))}))
    with pytest.raises(UserError, match="10 or more"):
        smpl_file.read(tmp_path / "few.npz")

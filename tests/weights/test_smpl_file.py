"""SMPL's own files: the .npz and the official pickle, whole, poor, damaged and hostile."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csc_matrix

from factory.errors import UserError
from factory.geometry.body import BodyModel
from factory.weights import smpl_file
from factory.weights.locate import resolve
from factory.weights.smpl_file import EXTRA, EXTRA_FILE
from tests.support.smpl_files import arrays, chumpy_array, chumpy_object, dump, write_pickle


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


def test_a_damaged_copy_in_the_cache_is_made_anew(official, cache):
    whole = smpl_file.read(official)
    (file,) = (cache / "factory").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert np.array_equal(smpl_file.read(official)["f"], whole["f"]) and file.stat().st_size > 1000


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
    with pytest.raises(UserError, match="text.npz is a web page .* fetch it again"):
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


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((10475, 55), "is a file of SMPL-X; SMPL's is wanted: SMPL_NEUTRAL.pkl"),
        ((6890, 52), "is a file of SMPL-H; SMPL's is wanted"),
        ((778, 16), "is a file of MANO, a hand; SMPL's is wanted"),
        ((5023, 5), "is a file of FLAME, a head"),
        ((6890, 30), r"weights is \(6890, 30\) of float64, not numbers \(6890, 24\); SMPL's is wanted"),
    ],
)
def test_another_body_is_told_by_its_name(tmp_path, weights, words):
    np.savez(tmp_path / "other.npz", **(arrays(10) | {"weights": np.zeros(weights)}))
    with pytest.raises(UserError, match=words):
        smpl_file.read(tmp_path / "other.npz")


def test_a_pickle_of_smpl_h_is_told_by_its_name(tmp_path):
    path = write_pickle(tmp_path, weights=np.zeros((6890, 52)))
    (tmp_path / EXTRA_FILE).unlink()  # what it is comes first
    with pytest.raises(UserError, match="is a file of SMPL-H; SMPL's is wanted"):
        smpl_file.read(path)


def test_too_few_shapes_and_texts(tmp_path):
    for change, words in (
        ({"shapedirs": np.zeros((6890, 3, 8))}, "10 or more"),
        ({"f": np.full((13776, 3), "1")}, "U1"),
    ):
        np.savez(tmp_path / "few.npz", **(arrays(10) | change))
        with pytest.raises(UserError, match=words):
            smpl_file.read(tmp_path / "few.npz")


def test_a_pytorch_file_or_a_folder_in_smpls_place(tmp_path, official):
    for old, name in ((False, "SMPL_NEUTRAL.pth"), (True, "SMPLA_NEUTRAL.pkl")):  # simple_romp's, whatever the ending
        torch.save({"v_template": torch.zeros(3)}, tmp_path / name, _use_new_zipfile_serialization=not old)
        with pytest.raises(UserError, match=f"{name} is a PyTorch file, as simple_romp.*SMPL_NEUTRAL.pkl or"):
            smpl_file.read(tmp_path / name)
    (tmp_path / "models" / "smpl").mkdir(parents=True)
    with pytest.raises(UserError, match="models is a folder; give the file in it: SMPL_NEUTRAL.pkl or .npz"):
        smpl_file.read(tmp_path / "models")
    shutil.copy(official, tmp_path / "models" / "smpl")
    with pytest.raises(UserError, match="a folder; give the file in it, such as .*/smpl/SMPL_NEUTRAL.pkl"):
        smpl_file.read(tmp_path / "models")
    (tmp_path / "SMPL.fbx").write_bytes(b"Kaydara")
    with pytest.raises(UserError, match="SMPL.fbx is neither a .pkl nor an .npz"):
        smpl_file.read(tmp_path / "SMPL.fbx")


def test_an_npz_that_is_called_pkl_is_read(tmp_path):
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **arrays(10))
    (tmp_path / "SMPL_NEUTRAL.npz").rename(tmp_path / "SMPL_NEUTRAL.pkl")
    assert smpl_file.read(tmp_path / "SMPL_NEUTRAL.pkl")["f"].shape == (13776, 3)


def test_nan_in_a_body_is_one_line(tmp_path):
    data = arrays(10)
    data["posedirs"][5, 1, 3] = np.nan
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **data)
    with pytest.raises(UserError, match="SMPL_NEUTRAL.npz: posedirs is not finite everywhere"):
        smpl_file.read(tmp_path / "SMPL_NEUTRAL.npz")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_smpl_does_not_need_may_be_anything(tmp_path, official, protocol):
    """J as chumpy's product of regressor and vertices, as some packages save it: left out."""
    path = write_pickle(tmp_path, protocol, J=chumpy_object("chumpy.ch_ops", "dot", a=chumpy_array(np.eye(3))))
    ours, theirs = smpl_file.read(path), smpl_file.read(official)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    path = write_pickle(tmp_path, protocol, v_template=chumpy_object("chumpy.ch_ops", "add", a=chumpy_array(np.eye(3))))
    with pytest.raises(UserError, match="v_template is a chumpy.ch_ops.add, not an array"):
        smpl_file.read(path)


def test_a_matrix_that_says_it_fills_a_terabyte_is_not_unfolded(tmp_path):
    path = write_pickle(tmp_path, J_regressor=csc_matrix((10**6, 10**6)))
    with pytest.raises(UserError, match="J_regressor is a scipy.sparse._csc.csc_matrix, not an array"):
        smpl_file.read(path)


def test_a_body_that_claims_to_be_larger_than_any_is_refused_before_it_is_read(tmp_path):
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(tmp_path / "SMPL_NEUTRAL.npz", "w") as archive:
        archive.writestr("v_template.npy", header.getvalue() + bytes(800))
    with pytest.raises(UserError, match="v_template: 8,000,000,000,000 bytes, more than are read here"):
        smpl_file.read(tmp_path / "SMPL_NEUTRAL.npz")

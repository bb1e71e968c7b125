"""Given poses: our .npz and EFT's .json mean the same; whatever does not fit is named."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from factory.errors import UserError
from factory.job import Poses
from factory.sources.poses import load, rows_of

RANDOM = np.random.default_rng(0)
POSE = RANDOM.uniform(-1, 1, (3, 72)).astype(np.float32)
BETAS, CAMERA = np.ones((3, 10), np.float32), np.tile(np.float32([0.9, 0.1, 0]), (3, 1))
NPZ = {"pose": POSE, "betas": BETAS, "camera": CAMERA}


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "poses.npz", **arrays)
    return Poses(path=str(tmp_path / "poses.npz"))


def fit(row, image, **changes):
    return {
        "parm_pose": Rotation.from_rotvec(POSE[row].reshape(24, 3)).as_matrix().tolist(),
        "parm_shape": BETAS[row].tolist(),
        "parm_cam": CAMERA[row].tolist(),
        "bbox_scale": 1.5,
        "bbox_center": [200.0, 100.0],
        "joint_validity_openpose18": [True] * 18,
        "smpltype": "smpl",
        "annotId": row,
        "imageName": image,
        **changes,
    }


def eft(tmp_path, fits):
    path = tmp_path / "fits.json"
    path.write_text(json.dumps({"ver": 0.1, "data": fits}))
    return Poses(path=str(path))


def test_npz(tmp_path):
    given = load(npz(tmp_path, **NPZ))
    assert len(given) == 3 and given.crop is None and given.images == []
    np.testing.assert_array_equal(given.pose, POSE)


def test_eft_gives_the_same(tmp_path):
    given = load(eft(tmp_path, [fit(i, "a.jpg") for i in range(3)]))
    np.testing.assert_allclose(given.pose, POSE, atol=1e-5)
    np.testing.assert_array_equal(given.camera, CAMERA)
    np.testing.assert_allclose(given.crop, [[200, 100, 300]] * 3)  # 200 px per unit of scale


def test_an_image_finds_its_people(tmp_path):
    rows = load(npz(tmp_path, **NPZ, imgname=["x/a.jpg", "b.jpg", "x/a.jpg"])).rows()
    assert rows_of(rows, "x/a.jpg") == rows_of(rows, "a.jpg") == rows_of(rows, "deep/a.jpg") == [0, 2]
    assert rows_of(rows, "c.jpg") == []
    same_name = load(npz(tmp_path, **NPZ, imgname=["x/a.jpg", "y/a.jpg", "b.jpg"])).rows()
    assert rows_of(same_name, "a.jpg") == [] and rows_of(same_name, "y/a.jpg") == [1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": None}, "lacks camera"),
        ({"pose": POSE[:, :69]}, r"pose is \(3, 69\), not \(3, 72\)"),
        ({"betas": BETAS[:2]}, r"betas is \(2, 10\), not \(3, 10\)"),
        ({"pose": POSE * np.nan}, "pose is not finite"),
        ({"imgname": ["a.jpg"]}, "imgname has 1 rows"),
        ({"imgname": np.array(["a", "b", None], object)}, "no plain .npz"),
        ({name: array[:0] for name, array in NPZ.items()}, "holds no pose"),
    ],
)
def test_npz_that_does_not_fit(tmp_path, change, words):
    arrays = {name: array for name, array in {**NPZ, **change}.items() if array is not None}
    with pytest.raises(UserError, match=words):
        load(npz(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"smpltype": "SMPLX"}, "smplx"), ({"parm_shape": [0.0] * 9}, "parm_shape"), ({"imageName": None}, "")],
)
def test_eft_that_does_not_fit(tmp_path, change, words):
    fits = [fit(0, "a.jpg", **change)] if words else [{"parm_pose": []}]
    with pytest.raises(UserError, match=words or "not as EFT's"):
        load(eft(tmp_path, fits))


def test_no_file_and_broken_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(Poses(path=str(tmp_path / "gone.npz")))
    for name in ("a.npz", "a.json"):
        (tmp_path / name).write_bytes(b"{broken")
        with pytest.raises(UserError, match=name):
            load(Poses(path=str(tmp_path / name)))

"""Given poses: our .npz and EFT's .json mean the same; whatever does not fit is named."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from factory.errors import UserError
from factory.geometry.body import BodyModel
from factory.geometry.camera import full_image_K, project, weak_to_transl
from factory.job import PosesSpec
from factory.sources.poses import load_poses

RANDOM = np.random.default_rng(0)
POSE = RANDOM.uniform(-1, 1, (3, 72)).astype(np.float32)
BETAS, CAMERA = np.ones((3, 10), np.float32), np.tile(np.float32([0.9, 0.1, 0]), (3, 1))
NPZ = {"pose": POSE, "betas": BETAS, "camera": CAMERA}


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "poses.npz", **arrays)
    return PosesSpec(path=str(tmp_path / "poses.npz"))


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
    return PosesSpec(path=str(path))


def test_npz(tmp_path):
    given = load_poses(npz(tmp_path, **NPZ))
    assert len(given) == 3 and given.crop is None and given.images == []
    np.testing.assert_array_equal(given.pose, POSE)


def test_eft_gives_the_same(tmp_path):
    given = load_poses(eft(tmp_path, [fit(i, "a.jpg") for i in range(3)]))
    np.testing.assert_allclose(given.pose, POSE, atol=1e-5)
    np.testing.assert_allclose(given.crop, [[200, 100, 300]] * 3)  # 200 px per unit of scale


def test_an_efts_body_lies_where_eft_draws_it(tmp_path):
    """EFT's own convention: joints s X + t on its box, half of which is 1. Ours, by way of the perspective camera of
    the whole image, differs by what perspective does, less than a pixel in a box of 300 px."""
    size, box, centre = 480, 300.0, np.array([270.0, 220.0])
    weak = np.float32([[0.85, 0.12, -0.25], [0.6, -0.3, 0.2], [0.9, 0.0, 0.05]])
    upright = POSE * 0.2 + np.eye(1, 72) * np.pi
    turns = Rotation.from_rotvec(upright.reshape(-1, 3)).as_matrix().reshape(3, 24, 3, 3)
    fits = [
        fit(i, "a.jpg", parm_pose=turns[i].tolist(), parm_cam=weak[i].tolist(), bbox_center=centre.tolist())
        for i in range(3)
    ]
    given = load_poses(eft(tmp_path, fits))
    body, still = BodyModel("starter:body"), torch.zeros(3, 3)
    pose, betas = torch.from_numpy(given.pose), torch.from_numpy(given.betas)
    joints = body(pose[:, :3], pose[:, 3:], betas, still)[1]
    theirs = centre + box / 2 * (weak[:, None, :1] * joints[..., :2].numpy() + weak[:, None, 1:])
    K = torch.from_numpy(full_image_K(size, size))
    transl = weak_to_transl(torch.from_numpy(given.camera), torch.from_numpy(given.crop), K)
    ours = project(joints + transl[:, None], K).numpy()
    assert np.abs(ours - theirs).max() <= 1


def test_an_efts_camera_without_a_scale_is_refused(tmp_path):
    with pytest.raises(UserError, match="parm_cam of fit 1 has no scale above 0"):
        load_poses(eft(tmp_path, [fit(0, "a.jpg"), fit(1, "b.jpg", parm_cam=[0.0, 0.1, 0.2])]))


def test_an_image_finds_its_people(tmp_path):
    rows = load_poses(npz(tmp_path, **NPZ, imgname=["x/a.jpg", "b.jpg", "x/a.jpg"])).rows()
    assert rows.of("x/a.jpg") == rows.of("a.jpg") == rows.of("deep/a.jpg") == [0, 2]
    assert rows.of("c.jpg") == []
    same_name = load_poses(npz(tmp_path, **NPZ, imgname=["x/a.jpg", "y/a.jpg", "b.jpg"])).rows()
    assert same_name.of("a.jpg") == [] and same_name.of("y/a.jpg") == [1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": None}, "lacks camera"),
        ({"pose": POSE[:, :69]}, r"pose is \(3, 69\), not \(3, 72\)"),
        ({"betas": BETAS[:2]}, r"betas is \(2, 10\), not \(3, 10\)"),
        ({"pose": POSE * np.nan}, "pose is not finite"),
        ({"pose": POSE * 1j}, "pose.* complex64"),
        ({"betas": np.zeros((3, 10), "M8[s]")}, "betas.* datetime64"),
        ({"camera": np.full((3, 3), "0.9")}, "camera.* <U3"),
        ({"imgname": ["a.jpg"]}, "imgname has 1 rows"),
        ({"imgname": np.array(["a", "b", None], object)}, "no plain .npz"),
        ({name: array[:0] for name, array in NPZ.items()}, "holds no pose"),
    ],
)
def test_npz_that_does_not_fit(tmp_path, change, words):
    arrays = {name: array for name, array in {**NPZ, **change}.items() if array is not None}
    with pytest.raises(UserError, match=words):
        load_poses(npz(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"smpltype": "SMPLX"}, "smplx"), ({"parm_shape": [0.0] * 9}, "parm_shape"), ({"imageName": None}, "")],
)
def test_eft_that_does_not_fit(tmp_path, change, words):
    fits = [fit(0, "a.jpg", **change)] if words else [{"parm_pose": []}]
    with pytest.raises(UserError, match=words or "not as EFT's"):
        load_poses(eft(tmp_path, fits))


def test_no_file_and_broken_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_poses(PosesSpec(path=str(tmp_path / "gone.npz")))
    for name in ("a.npz", "a.json"):
        (tmp_path / name).write_bytes(b"{broken")
        with pytest.raises(UserError, match=name):
            load_poses(PosesSpec(path=str(tmp_path / name)))

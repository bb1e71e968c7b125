from math import pi

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.geometry.body import BodyModel, spin49
from factory.geometry.rotations import axis_angle_to_matrix
from factory.weights.locate import resolve

UPRIGHT = torch.tensor([[pi, 0, 0]])


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel(resolve("starter:body"))


def rest(count: int = 1) -> tuple:
    return UPRIGHT.repeat(count, 1), torch.zeros(count, 69), torch.zeros(count, 10), torch.zeros(count, 3)


def test_shapes(body):
    vertices, joints = body(*rest(2))
    assert vertices.shape == (2, 6890, 3) and joints.shape == (2, 54, 3)
    assert body.faces.shape == (13776, 3) and body.faces.dtype == torch.int64
    assert spin49(joints).shape == (2, 49, 3)


def test_upright_in_the_camera_frame(body):
    """y is down: the head has the smallest y, the feet the largest; the body's left is on the image's right."""
    _, joints = body(*rest())
    nose, left_ankle, left_shoulder, right_shoulder = joints[0, [24, 7, 16, 17]]
    assert nose[1] < left_shoulder[1] < left_ankle[1]
    assert left_shoulder[0] > right_shoulder[0]
    assert nose[2] < left_shoulder[2]  # it looks at the camera


def test_translation_moves_everything_alike(body):
    pose, shift = rest(), torch.tensor([[1.0, 2, 30]])
    for here, there in zip(body(*pose), body(*pose[:3], shift), strict=True):
        torch.testing.assert_close(there, here + shift, atol=1e-5, rtol=0)


def test_matrices_and_axis_angle_agree(body):
    pose = 0.5 * torch.randn(1, 72, generator=torch.Generator().manual_seed(0))
    matrices = axis_angle_to_matrix(pose.view(1, 24, 3))
    one = body(pose[:, :3], pose[:, 3:], *rest()[2:])
    other = body(matrices[:, :1], matrices[:, 1:], *rest()[2:])
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_extra_joints_follow_the_mesh(body):
    vertices, joints = body(*rest())
    with np.load(resolve("starter:body")) as stored:
        regressor = torch.from_numpy(stored["joint_regressor_extra"].astype(np.float32))
    torch.testing.assert_close(joints[0, 45:], regressor @ vertices[0], atol=1e-5, rtol=0)


def test_spin49_names_sides_right(body):
    """OpenPose-25 and SPIN's 24 list the same body: their common joints lie close together, left with left."""
    joints = spin49(body(*rest())[1])[0]
    openpose = dict(r_shoulder=2, r_wrist=4, l_shoulder=5, l_wrist=7, r_knee=10, r_ankle=11, l_knee=13, l_ankle=14)
    spin24 = dict(r_shoulder=8, r_wrist=6, l_shoulder=9, l_wrist=11, r_knee=1, r_ankle=0, l_knee=4, l_ankle=5)
    for name, index in openpose.items():
        assert (joints[index] - joints[25 + spin24[name]]).norm() < 0.02, name


def test_gradients_reach_pose_and_shape(body):
    orient, pose, betas, transl = (x.requires_grad_() for x in rest())
    body(orient, pose, betas, transl)[1].square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in (orient, pose, betas, transl))


def test_joints_without_the_mesh_are_those_of_the_mesh(body):
    """`joints54` poses the few vertices that joints are made of; so do its gradients agree."""
    draw = torch.Generator().manual_seed(0)
    rotations = axis_angle_to_matrix(0.5 * torch.randn(3, 24, 3, generator=draw)).requires_grad_()
    betas = torch.randn(3, 10, generator=draw).requires_grad_()
    expected = body(rotations[:, :1], rotations[:, 1:], betas, torch.zeros(3, 3))[1]
    found = body.joints54(rotations, betas)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    weight = torch.randn(found.shape, generator=draw)
    gradients = [torch.autograd.grad((joints * weight).sum(), (rotations, betas)) for joints in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="not found.*smpl.is.tue.mpg.de"):
        BodyModel(tmp_path / "absent.npz")


def test_the_skeleton_is_the_bodys_own_joints_without_its_vertices(body):
    random = torch.Generator().manual_seed(0)
    pose, betas = 0.5 * torch.randn(3, 72, generator=random), torch.randn(3, 10, generator=random)
    rotations = axis_angle_to_matrix(pose.view(3, 24, 3)).requires_grad_()
    joints = body.skeleton(rotations, betas.requires_grad_())
    whole = body(pose[:, :3], pose[:, 3:], betas, torch.zeros(3, 3))[1]
    torch.testing.assert_close(joints, whole[:, :24], atol=1e-5, rtol=0)
    joints.square().sum().backward()
    assert rotations.grad.any() and betas.grad.any()


def test_a_skeleton_first_used_for_figures_can_still_be_trained_with(body):
    """What PyTorch makes in inference mode cannot be trained through."""
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    with torch.inference_mode():
        BodyModel("starter:body").skeleton(rotations, torch.zeros(1, 10))
    fresh = BodyModel("starter:body")
    with torch.inference_mode():
        fresh.skeleton(rotations, torch.zeros(1, 10))
    fresh.skeleton(rotations, torch.zeros(1, 10, requires_grad=True)).sum().backward()

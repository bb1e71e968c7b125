import torch

from factory.geometry.body import BodyModel
from factory.geometry.kinematics import ForwardKinematics
from factory.geometry.rotations import axis_angle_to_matrix


def test_joints_agree_with_the_body_model():
    generator = torch.Generator().manual_seed(0)
    pose, betas = 0.5 * torch.randn(5, 72, generator=generator), torch.randn(5, 10, generator=generator)
    _, joints = BodyModel("starter:body")(pose[:, :3], pose[:, 3:], betas, torch.zeros(5, 3))
    cheap = ForwardKinematics("starter:body").joints(axis_angle_to_matrix(pose.view(-1, 24, 3)), betas)
    torch.testing.assert_close(cheap, joints[:, :24], atol=1e-5, rtol=0)

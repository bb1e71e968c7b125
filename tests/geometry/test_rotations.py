import numpy as np
import torch
from scipy.spatial.transform import Rotation

from factory.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle, matrix_to_sixd, sixd_to_matrix


def rotations(count: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, random_state=0).as_matrix()).float()


def test_axis_angle_agrees_with_scipy():
    matrix = rotations(100)
    axis_angle = matrix_to_axis_angle(matrix)
    np.testing.assert_allclose(Rotation.from_rotvec(axis_angle.numpy()).as_matrix(), matrix, atol=1e-5)
    torch.testing.assert_close(axis_angle_to_matrix(axis_angle), matrix, atol=1e-5, rtol=0)


def test_no_rotation_and_half_turn():
    edge = torch.tensor([[0.0, 0, 0], [torch.pi, 0, 0], [0, 1e-6, 0]])
    torch.testing.assert_close(matrix_to_axis_angle(axis_angle_to_matrix(edge)).abs(), edge, atol=1e-5, rtol=0)


def test_sixd_is_the_first_two_columns_row_by_row():
    """SPIN's memory order; the other one (column after column) transposes every predicted rotation."""
    matrix = rotations(1)[0]
    expected = [matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1], matrix[2, 0], matrix[2, 1]]
    torch.testing.assert_close(matrix_to_sixd(matrix), torch.stack(expected))


def test_sixd_inverts_and_repairs():
    matrix = rotations(50).view(5, 10, 3, 3)
    torch.testing.assert_close(sixd_to_matrix(matrix_to_sixd(matrix)), matrix, atol=1e-5, rtol=0)
    repaired = sixd_to_matrix(torch.randn(20, 6, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(repaired @ repaired.mT, torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(repaired), torch.ones(20), atol=1e-5, rtol=0)


def test_gradients_flow():
    pose = torch.zeros(2, 3, requires_grad=True)
    axis_angle_to_matrix(pose)[:, 0, 1].sum().backward()
    assert torch.isfinite(pose.grad).all() and pose.grad.abs().sum() > 0

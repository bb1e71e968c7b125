import pytest
import torch

from factory.geometry.camera import full_image_K, project, transl_to_weak, weak_to_transl

CAMERA = torch.tensor([[0.9, 0.1, -0.2], [0.5, -0.3, 0.4]])
CROP = torch.tensor([[100.0, 300, 220], [256, 256, 512]])


def test_whole_image_is_the_known_camera():
    """A 512 px image taken as the 224 px crop: f = 5000 * 512 / 224, and SPIN's own translation."""
    K = torch.from_numpy(full_image_K(512, 512))
    assert K[0, 0].item() == pytest.approx(11428.57, abs=0.01) and K[0, 2] == K[1, 2] == 256
    transl = weak_to_transl(CAMERA[1:], CROP[1:], K)[0]
    assert transl.tolist() == pytest.approx([-0.3, 0.4, 2 * 5000 / (224 * 0.5)])


def test_projection_lands_where_the_weak_camera_says():
    K = torch.from_numpy(full_image_K(512, 512))
    transl = weak_to_transl(CAMERA, CROP, K)
    points = torch.tensor([[0.3, -0.5, 0.0], [-0.2, 0.6, 0.0]])  # in the plane of the body's origin both cameras agree
    weak = CAMERA[:, :1] * (points[:, :2] + CAMERA[:, 1:])  # [-1, 1] on the crop
    expected = CROP[:, :2] + weak * CROP[:, 2:] / 2
    torch.testing.assert_close(project(points + transl, K), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("focal", [150.0, 11428.57])
def test_there_and_back_with_any_camera(focal):
    K = torch.tensor([[focal, 0, 240], [0, focal, 260], [0, 0, 1]])
    there = weak_to_transl(CAMERA, CROP, K)
    torch.testing.assert_close(transl_to_weak(there, CROP, K), CAMERA, atol=1e-4, rtol=1e-4)


def test_a_landscape_image_is_one_crop_of_its_longer_side():
    K = full_image_K(640, 480)
    assert (K[0, 0], K[0, 2], K[1, 2]) == (pytest.approx(5000 * 640 / 224), 320, 240)

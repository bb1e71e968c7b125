import subprocess
import sys

import numpy as np
import pytest
import torch

from factory.geometry.camera import full_image_K, project, project_on_crop, transl_to_weak, weak_to_transl

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


def test_arrays_and_tensors_get_the_same_cameras():
    K = full_image_K(512, 512).astype(np.float64)
    camera, crop = CAMERA.double().numpy(), CROP.double().numpy()
    there = weak_to_transl(camera, crop, K)
    tensors = [torch.from_numpy(array) for array in (camera, crop, K)]
    torch.testing.assert_close(torch.from_numpy(there), weak_to_transl(*tensors))
    np.testing.assert_allclose(transl_to_weak(there, crop, K), camera)
    points = np.random.default_rng(0).normal(0, 0.3, (2, 5, 3)) + there[:, None]
    for camera_matrix in (K, np.stack([K, 2 * K])):
        expected = project(torch.from_numpy(points), torch.from_numpy(camera_matrix))
        torch.testing.assert_close(torch.from_numpy(project(points, camera_matrix)), expected)


def test_the_crops_own_perspective_is_the_weak_camera_in_the_middle():
    """A centred crop seen by the camera of the whole image: the same place on the crop, by either way."""
    crop = torch.tensor([[256.0, 256, 512]] * 2)
    K = torch.from_numpy(full_image_K(512, 512))
    points = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (2, 5, 3)).astype(np.float32))
    pixels = project(points + weak_to_transl(CAMERA, crop, K)[:, None], K)
    torch.testing.assert_close(project_on_crop(points, CAMERA), pixels / 256 - 1, atol=1e-4, rtol=0)
    flat = torch.zeros(2, 3, requires_grad=True)  # s = 0: far away, and still a gradient
    project_on_crop(points, flat).sum().backward()
    assert torch.isfinite(flat.grad).all() and flat.grad.any()


def test_arrays_are_converted_without_pytorch():
    code = (
        "import sys, numpy as np\n"
        "from factory.geometry import camera, crops, joints, average_skeleton\n"
        "K = camera.full_image_K(64, 64)\n"
        "transl = camera.weak_to_transl(np.ones((1, 3)), np.ones((1, 3)), K)\n"
        "camera.project(transl[:, None] + camera.transl_to_weak(transl, np.ones((1, 3)), K)[:, None], K)\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

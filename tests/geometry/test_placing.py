import numpy as np
import pytest
import torch

from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import full_image_K
from factory.geometry.placing import place_bodies
from factory.models.hmr.base import BodyEstimate

SIZE = 128
WHOLE = full_image_K(SIZE, SIZE)


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel("starter:body")


@pytest.fixture
def pair() -> BodyEstimate:
    random = np.random.default_rng(0)
    return BodyEstimate(
        global_orient=np.array([[np.pi, 0, 0], [2.9, 0.2, 0.1]]),
        body_pose=random.normal(0, 0.2, (2, 69)),
        betas=random.normal(0, 1, (2, 10)),
        camera=np.array([[0.8, 0.1, 0.2], [0.6, -0.2, 0.1]]),
        crop=np.array([[64, 64, 100], [40, 70, 60]]),
    )


def test_a_body_lies_where_its_weak_camera_puts_it(body, pair):
    """Its origin at s (t + 0) on the crop; pose and shape are the estimate's."""
    placed = place_bodies(pair, WHOLE, body)
    origins = pair.crop[:, :2] + pair.crop[:, 2:] / 2 * pair.camera[:, :1] * pair.camera[:, 1:]
    seen = placed.transl.numpy() @ WHOLE.T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], origins, atol=1e-3)
    pose, shape = torch.from_numpy(pair.body_pose), torch.from_numpy(pair.betas)
    vertices, joints = body(torch.from_numpy(pair.global_orient), pose, shape, placed.transl)
    torch.testing.assert_close(placed.vertices, vertices)
    torch.testing.assert_close(placed.joints, spin49(joints))
    assert placed.joints2d.shape == (2, 49, 2) and placed.vertices2d.shape == (2, 6890, 2)
    homogeneous = placed.vertices.numpy() @ WHOLE.T
    np.testing.assert_allclose(placed.vertices2d, homogeneous[..., :2] / homogeneous[..., 2:], rtol=1e-5, atol=1e-3)


def test_each_body_may_have_a_camera_of_its_own(body, pair):
    near = np.array([[110, 0, 64], [0, 110, 64], [0, 0, 1]], np.float32)
    both = place_bodies(pair, np.stack([WHOLE, near]), body)
    for i, K in enumerate((WHOLE, near)):
        alone = place_bodies(pair[[i]], K, body)
        np.testing.assert_allclose(both.joints2d[i], alone.joints2d[0], atol=1e-2)
    assert both.transl[1, 2] < both.transl[0, 2] / 10


def test_another_weak_camera_takes_the_place_of_the_estimates(body, pair):
    other = torch.from_numpy(pair.camera) * torch.tensor([0.5, 1, 1])
    farther = place_bodies(pair, WHOLE, body, camera=other)
    torch.testing.assert_close(farther.transl[:, 2], 2 * place_bodies(pair, WHOLE, body).transl[:, 2])

"""The z-buffer against exact geometry."""

import math

import pytest
import torch
import trimesh

from factory.geometry.rasteriser import interpolate, rasterise

K = torch.tensor([[300.0, 0, 64], [0, 300, 64], [0, 0, 1]])


def sphere(x: float, y: float, z: float, radius: float, subdivisions: int = 5):
    mesh = trimesh.creation.icosphere(subdivisions, radius)
    return torch.tensor(mesh.vertices, dtype=torch.float32) + torch.tensor([x, y, z]), torch.tensor(mesh.faces)


def test_a_sphere_covers_its_disc_at_its_distance():
    vertices, faces = sphere(0, 0, 6, 0.5)
    drawn = rasterise(vertices[None], faces, K, 128, 128)
    radius = 300 * 0.5 / math.sqrt(6**2 - 0.5**2)  # the tangent cone
    assert (drawn.face[0] >= 0).sum().item() == pytest.approx(math.pi * radius**2, rel=0.01)
    assert drawn.depth[0, 64, 64].item() == pytest.approx(5.5, abs=1e-3)
    assert ((drawn.depth > 0) == (drawn.face >= 0)).all()


def test_the_nearer_of_two_hides_the_other_whatever_the_order():
    near, faces = sphere(0, 0, 5, 0.3)
    far, _ = sphere(0.1, 0, 7, 0.6)
    for first, second in ((near, far), (far, near)):
        both = torch.cat([first, second])
        drawn = rasterise(both[None], torch.cat([faces, faces + len(first)]), K, 128, 128)
        assert drawn.depth[0, 64, 64].item() == pytest.approx(4.7, abs=1e-3)
    alone = rasterise(far[None], faces, K, 128, 128).depth[0]
    seen = drawn.depth[0] > 0
    assert (drawn.depth[0][seen & (alone > 0)] <= alone[seen & (alone > 0)] + 1e-6).all()


def test_pixel_centres_lie_at_half():
    """A square over [10, 20) x [30, 35) px covers exactly those pixels."""
    corners = torch.tensor([[10.0, 30], [20, 30], [20, 35], [10, 35]])
    vertices = torch.cat([(corners - 64) / 300 * 3, torch.full((4, 1), 3.0)], 1)
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]])  # anticlockwise towards the camera (y is down)
    seen = rasterise(vertices[None], faces, K, 128, 128).face[0] >= 0
    expected = torch.zeros(128, 128, dtype=torch.bool)
    expected[30:35, 10:20] = True
    assert (seen == expected).all()
    assert not (rasterise(vertices[None], faces.flip(1), K, 128, 128).face >= 0).any(), "seen from behind"


def test_each_mesh_of_a_batch_has_its_own_image_and_camera():
    vertices, faces = sphere(0, 0, 6, 0.4, 3)
    moved = vertices + torch.tensor([0.5, 0, 0])
    shifted = K.clone()
    shifted[0, 2] += 25
    batch = rasterise(torch.stack([vertices, moved]), faces, torch.stack([K, shifted]), 96, 128)
    for i, (mesh, camera) in enumerate(((vertices, K), (moved, shifted))):
        alone = rasterise(mesh[None], faces, camera, 96, 128)
        assert (batch.face[i] == alone.face[0]).all() and (batch.depth[i] == alone.depth[0]).all()


def test_what_lies_behind_or_outside_is_not_drawn():
    for place in ((0, 0, -6), (50, 0, 6), (0, 0, 0)):
        vertices, faces = sphere(*place, 0.01)
        assert not (rasterise(vertices[None], faces, K, 64, 64).face >= 0).any()


def test_interpolated_positions_project_back_to_their_pixels():
    vertices, faces = sphere(0.1, -0.2, 4, 0.5, 3)
    drawn = rasterise(vertices[None], faces, K, 128, 128)
    points = interpolate(drawn.face[0], vertices, faces, K, vertices)
    y, x = torch.nonzero(drawn.face[0] >= 0, as_tuple=True)
    back = points[y, x] @ K.T
    assert torch.allclose(back[:, :2] / back[:, 2:], torch.stack([x, y], -1) + 0.5, atol=2e-2)
    assert torch.allclose(points[y, x, 2], drawn.depth[0][y, x], atol=1e-4)

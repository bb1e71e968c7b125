import numpy as np
import pytest
import torch
import trimesh

from factory.errors import UserError
from factory.geometry import pyrender_backend, rasteriser


@pytest.fixture(scope="module")
def ball() -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    return torch.from_numpy(mesh.vertices).float(), torch.from_numpy(mesh.faces.copy()).long()


@pytest.mark.parametrize(("distance", "focal"), [(3.0, 200.0), (30.0, 2500.0)])
def test_agrees_with_the_z_buffer(ball, distance, focal):
    """To the pixel and the millimetre; the four samples a pixel that pyrender asks for would shift the outline."""
    vertices, faces = ball
    vertices = torch.stack([vertices + torch.tensor([0.1, -0.2, distance]), vertices + torch.tensor([0, 0, distance])])
    K = torch.tensor([[focal, 0, 64], [0, focal, 48], [0, 0, 1]])
    try:
        theirs = pyrender_backend.rasterise_opengl(vertices, faces, K, 96, 128).depth.numpy()
    except UserError as error:
        pytest.skip(str(error))
    ours = rasteriser.rasterise(vertices, faces, K, 96, 128).depth.numpy()
    assert ((theirs > 0) != (ours > 0)).sum() <= 2 and (ours > 0).sum() > 1000
    both = (theirs > 0) & (ours > 0)
    assert np.abs(theirs - ours)[both].max() < 0.02  # grazing pixels
    assert np.median(np.abs(theirs - ours)[both]) < 5e-4

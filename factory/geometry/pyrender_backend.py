"""The other depth renderer: OpenGL by pyrender, as a cross-check of `rasteriser`. Needs EGL (libegl1, libgl1)."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.geometry.rasteriser import NEAR, Fragments

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera frame -> OpenGL's, which looks down -z with y up


def rasterise_opengl(vertices: Tensor, faces: Tensor, K: Tensor, height: int, width: int) -> Fragments:
    """As `rasteriser.rasterise`, but `face` is -1 everywhere, because OpenGL gives depth alone. UserError without a GL
    driver."""
    meshes = vertices.detach().cpu().double().numpy()
    cameras = K.expand(len(meshes), 3, 3).cpu().double().numpy()
    triangles = faces.cpu().numpy()
    pairs = zip(meshes, cameras, strict=True)
    depth = np.stack([_draw(mesh, triangles, camera, height, width) for mesh, camera in pairs])
    return Fragments(
        torch.from_numpy(depth).to(vertices.device),
        torch.full(depth.shape, -1, dtype=torch.int64, device=vertices.device),
    )


def _draw(vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, height: int, width: int) -> np.ndarray:
    pyrender, drawing = renderer(height, width)
    near, far = max(NEAR, vertices[:, 2].min() * 0.9), max(2 * NEAR, vertices[:, 2].max() * 1.1)
    camera = pyrender.IntrinsicsCamera(K[0, 0], K[1, 1], K[0, 2], K[1, 2], znear=near, zfar=far)
    scene = pyrender.Scene()
    scene.add(camera)
    primitive = pyrender.Primitive(positions=vertices, indices=faces)
    scene.add(pyrender.Mesh([primitive]), pose=OPENGL)
    return drawing.render(scene, flags=pyrender.RenderFlags.DEPTH_ONLY).astype(np.float32)


def renderer(height: int, width: int) -> Any:
    """The package pyrender and its renderer, set to images of this size, px. UserError without a GL driver."""
    pyrender, drawing = _renderer()
    drawing.viewport_height, drawing.viewport_width = height, width
    return pyrender, drawing


@functools.cache
def _renderer() -> Any:
    """The one renderer of this process: of two, closing either would end EGL for both."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")  # read when OpenGL is imported
    np.infty = np.inf  # type: ignore[attr-defined]  # pyrender predates numpy 2
    try:
        import pyrender
        import pyrender.renderer as internals

        # One sample a pixel: the default of four, resolved, shifts the depth by part of a pixel.
        storage = internals.glRenderbufferStorageMultisample
        internals.glRenderbufferStorageMultisample = lambda target, _, *size: storage(target, 0, *size)
        return pyrender, pyrender.OffscreenRenderer(64, 64)
    except Exception as error:  # PyOpenGL raises whatever the missing library makes it raise
        raise UserError(f"rasteriser pyrender: no OpenGL ({error}); install libegl1, libgl1 or use torch") from error

"""An exact z-buffer in plain torch: CPU or CUDA, no GL, no system packages.

Every pixel centre inside a triangle's bounding box is a candidate; those inside the triangle compete by depth in one
`scatter_reduce(amin)` on 64-bit keys (depth bits, then face index), so the result does not depend on order or threads.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

NEAR = 0.05  # m; a face with a vertex nearer than this is not drawn
CANDIDATES = 1 << 22  # pixel candidates tested at once; it bounds the memory and does not change the result


@dataclass
class Fragments:
    """The nearest surface at each pixel centre. depth (N, H, W) float32 m along z, 0 = nothing; face (N, H, W) int64,
    its number, -1 = nothing."""

    depth: Tensor
    face: Tensor


def rasterise(vertices: Tensor, faces: Tensor, K: Tensor, height: int, width: int) -> Fragments:
    """Draws N closed meshes with the same faces, each into an image of its own. Faces seen from behind are left out.

    vertices (N, V, 3): metres, camera frame (OpenCV: x right, y down, z forward). faces (F, 3) int64,
    anticlockwise seen from outside, as SMPL's.
    K (3, 3) or (N, 3, 3): px; pixel (row i, column j) covers [j, j+1) x [i, i+1), its centre is at +0.5.
    """
    count = len(vertices)
    empty = torch.iinfo(torch.int64).max
    buffer = torch.full((count * height * width,), empty, dtype=torch.int64, device=vertices.device)
    pixels = _project(vertices, K)
    corners = pixels[:, faces]  # (N, F, 3, 2)
    z = vertices[..., 2][:, faces]  # (N, F, 3)
    size = torch.tensor([width, height], device=vertices.device)
    low = torch.minimum((corners.amin(2) - 0.5).ceil().clamp(min=0), size).long()  # clamp first: int overflow
    high = torch.minimum((corners.amax(2) - 0.5).floor().clamp(min=-1), size - 1).long()
    span = (high - low + 1).clamp(min=0)
    front = _cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]) < 0  # y is down
    span = span * (front & (z.amin(2) > NEAR))[..., None]
    mesh, face = torch.nonzero(span.prod(-1), as_tuple=True)
    total = span[mesh, face].prod(-1)
    for part in _chunks(total):
        m, f = mesh[part], face[part]
        repeat = torch.repeat_interleave(torch.arange(len(m), device=m.device), total[part])
        offset = torch.arange(len(repeat), device=m.device) - (total[part].cumsum(0) - total[part])[repeat]
        m, f = m[repeat], f[repeat]
        columns = span[m, f, 0]
        x = low[m, f, 0] + offset % columns
        y = low[m, f, 1] + offset // columns
        weights = _barycentric(corners[m, f], torch.stack([x, y], -1) + 0.5)
        inside = (weights >= 0).all(-1)
        m, f, x, y, weights = m[inside], f[inside], x[inside], y[inside], weights[inside]
        depth = 1 / (weights / z[m, f]).sum(-1)
        key = (depth.float().view(torch.int32).long() << 32) | f  # positive floats order like their bits
        buffer.scatter_reduce_(0, (m * height + y) * width + x, key, "amin")
    hit = buffer != empty
    depth = (buffer >> 32).int().view(torch.float32)
    depth = torch.where(hit, depth, torch.zeros_like(depth))
    face_index = torch.where(hit, buffer & 0xFFFFFFFF, -1)
    return Fragments(depth.view(count, height, width), face_index.view(count, height, width))


def interpolate(face: Tensor, vertices: Tensor, faces: Tensor, K: Tensor, attributes: Tensor) -> Tensor:
    """Attributes of the vertices at the pixels of one drawn mesh, interpolated with correct perspective.

    face (H, W) from `rasterise`; vertices (V, 3); attributes (V, C). Returns (H, W, C), 0 where nothing is drawn.
    """
    y, x = torch.nonzero(face >= 0, as_tuple=True)
    triangle = faces[face[y, x]]
    weights = _barycentric(_project(vertices, K)[triangle], torch.stack([x, y], -1) + 0.5)
    weights = weights / vertices[..., 2][triangle]
    weights = weights / weights.sum(-1, keepdim=True)
    out = attributes.new_zeros(*face.shape, attributes.shape[-1])
    out[y, x] = (weights[..., None] * attributes[triangle]).sum(1)
    return out


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """vertices (N, V, 3), faces (F, 3) -> (N, V, 3): unit normals that point outwards, weighted by area."""
    a, b, c = (vertices[:, faces[:, i]] for i in range(3))
    face = torch.cross(b - a, c - a, dim=-1)
    out = torch.zeros_like(vertices)
    for i in range(3):
        out.index_add_(1, faces[:, i], face)
    return torch.nn.functional.normalize(out, dim=-1)


def _project(vertices: Tensor, K: Tensor) -> Tensor:
    z = vertices[..., 2:].clamp(min=NEAR)
    homogeneous = vertices @ K.transpose(-1, -2)
    return homogeneous[..., :2] / z


def _barycentric(corners: Tensor, points: Tensor) -> Tensor:
    """corners (P, 3, 2), points (P, 2) -> (P, 3) weights that sum to 1. Those of a triangle without area are -1, which
    no test takes for inside, where a division would give NaN."""
    a, b, c = (corners[:, i] - points for i in range(3))
    weights = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1)
    area = weights.sum(-1, keepdim=True)
    return torch.where(area.abs() > 1e-12, weights / area, torch.full_like(weights, -1))


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _chunks(total: Tensor) -> list[slice]:
    """total (F,): the candidates of each face -> slices of the faces with about CANDIDATES candidates each."""
    if not len(total):
        return []
    group = (total.cumsum(0) - 1) // CANDIDATES
    edges = [0, *(torch.nonzero(group.diff())[:, 0] + 1).tolist(), len(total)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]

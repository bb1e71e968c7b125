"""Landmarks (named vertices), their places in SMPL's vertex order, and the regions that are clothed.

`smplx.SMPL` takes 21 of its 45 joints directly from vertices, by their indices in SMPL's own mesh. This body has its
landmarks at the same indices, so it gives the same 45 joints without a `vertex_ids` argument.
"""

import numpy as np

from .skin import average_of_neighbours

# Landmark -> its index in SMPL's vertex order (smplx.vertex_ids.vertex_ids["smplh"]).
SLOTS = {
    "nose": 332,
    "left_eye": 2800,
    "right_eye": 6260,
    "left_ear": 583,
    "right_ear": 4071,
    "left_thumb": 2746,
    "left_index": 2319,
    "left_middle": 2445,
    "left_ring": 2556,
    "left_pinky": 2673,
    "right_thumb": 6191,
    "right_index": 5782,
    "right_middle": 5905,
    "right_ring": 6016,
    "right_pinky": 6133,
    "left_big_toe": 3216,
    "left_small_toe": 3226,
    "left_heel": 3387,
    "right_big_toe": 6617,
    "right_small_toe": 6624,
    "right_heel": 6787,
}
PARTS = ("face", "scalp", "neck", "torso", "hips", "upper_arm", "forearm", "hand", "upper_leg", "lower_leg", "foot")
_PART_OF_BONE = (
    ("neck", "neck"),
    ("head", "face"),
    ("eye", "face"),
    ("spine05", "hips"),
    ("spine", "torso"),
    ("root", "hips"),
    ("pelvis", "hips"),
    ("clavicle", "torso"),
    ("shoulder", "torso"),
    ("breast", "torso"),
    ("upperarm", "upper_arm"),
    ("lowerarm", "forearm"),
    ("wrist", "hand"),
    ("metacarpal", "hand"),
    ("finger", "hand"),
    ("upperleg", "upper_leg"),
    ("lowerleg", "lower_leg"),
    ("foot", "foot"),
    ("toe", "foot"),
)
SMOOTHING = 6  # rounds of averaging over the mesh, which straighten the borders of the regions


def find_landmarks(
    vertices: np.ndarray, heads: np.ndarray, weights: np.ndarray, labels: list[str], mirror: np.ndarray
) -> dict[str, int]:
    """Name -> vertex index, for every name in SLOTS and for 'crown'.

    vertices (v, 3) and heads (bones, 3) m: the T-posed body; weights (v, bones) by Anny's bones, which are called
    `labels`; mirror (v,): the vertex on the other side.
    """
    at = dict(zip(labels, heads, strict=True))
    x, y, z = vertices.T

    def moved_by(*bones: str) -> np.ndarray:
        return weights[:, [labels.index(bone) for bone in bones]].sum(1) > 0.5

    def most(score: np.ndarray, among: np.ndarray) -> int:
        index = np.flatnonzero(among)
        return int(index[score[index].argmax()])

    skull = moved_by("head", "eye.L", "eye.R")
    midline = mirror == np.arange(len(mirror))
    eye = at["eye.L"]
    vertex_of = {
        "nose": most(z, skull & midline & (np.abs(y - eye[1]) < 0.08)),
        "crown": most(y, skull & midline),
        "left_eye": most(z, skull & (np.hypot(x - eye[0], y - eye[1]) < 0.008)),
        "left_ear": most(x, skull & (y < eye[1] + 0.03)),
    }
    forward = np.mean([at[f"toe{toe}-1.L"] for toe in range(1, 6)], 0) - at["foot.L"]
    forward[1] = 0
    ahead = vertices @ (forward / np.linalg.norm(forward))
    outward = vertices @ np.cross([0, 1, 0], forward / np.linalg.norm(forward))
    foot = moved_by("foot.L", *(label for label in labels if label.startswith("toe") and label.endswith(".L")))
    vertex_of["left_heel"] = most(-ahead - 0.5 * np.abs(y - y.min() - 0.02), foot)
    vertex_of["left_big_toe"] = most(ahead - 0.7 * outward, foot)
    vertex_of["left_small_toe"] = most(0.7 * ahead + outward, foot)
    for finger, name in enumerate(("thumb", "index", "middle", "ring", "pinky"), 1):
        tip, base = labels.index(f"finger{finger}-3.L"), labels.index(f"finger{finger}-2.L")
        along = vertices @ (heads[tip] - heads[base])
        vertex_of[f"left_{name}"] = most(along, moved_by(labels[tip]))
    return vertex_of | {
        f"right_{name[5:]}": int(mirror[v]) for name, v in vertex_of.items() if name.startswith("left_")
    }


def vertex_order(landmarks: dict[str, int], count: int) -> np.ndarray:
    """(count,) int: new vertex i is old vertex order[i]. Each landmark comes to its slot, the other vertices keep their
    sequence.

    Raises ValueError where two landmarks share a vertex.
    """
    taken = [landmarks[name] for name in SLOTS]
    if len(set(taken)) < len(taken):
        raise ValueError(f"two landmarks share a vertex: {landmarks}")
    order = np.full(count, -1)
    order[list(SLOTS.values())] = taken
    order[order < 0] = np.setdiff1d(np.arange(count), taken)
    return order


def part_labels(
    vertices: np.ndarray, heads: np.ndarray, weights: np.ndarray, labels: list[str], faces: np.ndarray
) -> np.ndarray:
    """(v,) uint8 index into PARTS: the region whose bones have the most skin weight. The head is split by its hairline:
    the scalp lies behind and above a line from the top of the forehead past the ears to the nape.

    Arguments as for `find_landmarks`, and faces (f, 3).
    """
    group = np.zeros((len(labels), len(PARTS)))
    for bone, label in enumerate(labels):
        part = next(name for stem, name in _PART_OF_BONE if label.startswith(stem))
        group[bone, PARTS.index(part)] = 1
    belongs, neighbours = weights @ group, average_of_neighbours(faces, len(vertices))
    for _ in range(SMOOTHING):
        belongs = neighbours @ belongs
    region = belongs.argmax(1)
    at = dict(zip(labels, heads, strict=True))
    eye, skull = at["eye.L"], region == PARTS.index("face")
    _, y, z = vertices.T
    scale = eye[1] - at["head"][1]  # m, the height of the eyes over the head joint: a measure of the head's size
    temple = np.interp(y - eye[1], [-2 * scale, 0, 1.6 * scale], [-2.6 * scale, -1.9 * scale, -0.1 * scale]) + eye[2]
    region[skull & (z < temple)] = PARTS.index("scalp")
    return region.astype(np.uint8)

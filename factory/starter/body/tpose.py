"""From Anny's A-pose to SMPL's T-pose: a world rotation for each bone, then linear blend skinning with all 104 bones.

The bones of the left side are aimed; those of the right side get the mirrored rotations. Axes are SMPL's: x left, y up,
z front.
"""

import numpy as np

PELVIS = np.array([0.0, -0.23, 0.02])  # m, the position of the root joint: close to SMPL's
THIGH_SPREAD, FOOT_YAW, SHOULDER_LIFT = np.deg2rad([3.0, 10.0, 8.0])
TWIST_SHARE = {"lowerarm01": 0.25, "lowerarm02": 0.75}  # of the forearm's twist, for each of its two bones
# The share of the fingers' natural curl (y) and spread (z) that is kept in the frame of the palm.
FINGER, THUMB = np.array([1.0, 0.25, 0.7]), np.array([1.0, 0.4, 1.0])
FLIP = np.array([-1.0, 1.0, 1.0])


def to_tpose(
    vertices: np.ndarray,
    heads: np.ndarray,
    weights: np.ndarray,
    labels: list[str],
    parents: np.ndarray,
    mirror: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, v, 3) and bone heads (n, bones, 3) m of n people in the T-pose, with their pelvis at PELVIS.

    vertices (n, v, 3) and heads (n, bones, 3) m in the A-pose; weights (v, bones); labels and parents (bones,): names
    and parents of the bones; mirror (bones,): the bone on the other side.
    """
    tips = [_tip(label, vertices[0], weights[:, bone]) for bone, label in enumerate(labels)]
    posed_vertices, posed_heads = np.empty_like(vertices), np.empty_like(heads)
    for n in range(len(vertices)):
        turn = _rotations(heads[n], vertices[n], tips, labels, mirror)
        new = np.empty_like(heads[n])
        new[0] = PELVIS
        for bone in range(1, len(labels)):
            up = parents[bone]
            new[bone] = new[up] + turn[up] @ (heads[n, bone] - heads[n, up])
        shift = new - np.einsum("bij,bj->bi", turn, heads[n])
        blended = (weights @ turn.reshape(-1, 9)).reshape(-1, 3, 3)
        posed_vertices[n] = np.einsum("vij,vj->vi", blended, vertices[n]) + weights @ shift
        posed_heads[n] = new
    return posed_vertices, posed_heads


def _tip(label: str, vertices: np.ndarray, weight: np.ndarray) -> int | None:
    """The index of the vertex farthest out on the last bone of a finger; None for other bones."""
    if not (label.startswith("finger") and "-3" in label):
        return None
    bone = np.flatnonzero(weight > 0.5)
    if not len(bone):
        return None
    return int(bone[np.linalg.norm(vertices[bone] - vertices[bone].mean(0), axis=1).argmax()])


def _rotations(
    heads: np.ndarray, vertices: np.ndarray, tips: list[int | None], labels: list[str], mirror: np.ndarray
) -> np.ndarray:
    """(bones, 3, 3): the world rotation of each bone of one person from A-pose to T-pose."""
    at = {label: heads[bone] for bone, label in enumerate(labels)}
    turn = np.tile(np.eye(3), (len(labels), 1, 1))
    out, down, front = np.eye(3)[0], -np.eye(3)[1], np.eye(3)[2]

    def put(prefix: str, rotation: np.ndarray) -> None:
        for bone, label in enumerate(labels):
            if label.startswith(prefix) and label.endswith(".L"):
                turn[bone] = rotation

    # Arm: the bones along +x. The hinge of the elbow points down, so that flexing it brings the forearm to the front.
    upper, lower = at["lowerarm01.L"] - at["upperarm01.L"], at["wrist.L"] - at["lowerarm01.L"]
    hinge = np.cross(upper, lower)
    put("shoulder01", _about(front, SHOULDER_LIFT))
    put("upperarm", _frame(out, down) @ _frame(upper, hinge).T)
    forearm = _frame(out, down) @ _frame(lower, hinge).T
    # Hand: the middle knuckle along +x, the palm down. The bones of the forearm share the twist that this takes.
    palm = np.cross(at["finger3-1.L"] - at["wrist.L"], at["finger2-1.L"] - at["finger5-1.L"])
    hand = _frame(out, down) @ _frame(at["finger3-1.L"] - at["wrist.L"], palm).T
    relative = hand @ forearm.T
    twist = np.arctan2(relative[2, 1] - relative[1, 2], relative[1, 1] + relative[2, 2])
    for name, share in TWIST_SHARE.items():
        put(name, _about(out, share * twist) @ forearm)
    put("wrist", hand)
    put("metacarpal", hand)
    for finger in "12345":
        for phalanx in "123":
            label = f"finger{finger}-{phalanx}.L"
            end = at[f"finger{finger}-{int(phalanx) + 1}.L"] if phalanx != "3" else vertices[tips[labels.index(label)]]
            along = hand @ (end - at[label])
            put(label[:-2], _align(along, along * (THUMB if finger == "1" else FINGER)) @ hand)

    # Leg: the thigh is spread a little, the shin points straight down, the sole stays flat, the foot is turned out.
    thigh = np.sin(THIGH_SPREAD) * out + np.cos(THIGH_SPREAD) * down
    put("upperleg", _align(at["lowerleg01.L"] - at["upperleg01.L"], thigh))
    put("lowerleg", _align(at["foot.L"] - at["lowerleg01.L"], down))
    toes = np.mean([at[f"toe{toe}-1.L"] for toe in range(1, 6)], 0) - at["foot.L"]
    foot = _about(np.eye(3)[1], FOOT_YAW - np.arctan2(toes[0], toes[2]))
    put("foot", foot)
    put("toe", foot)

    for bone, label in enumerate(labels):
        if label.endswith(".R"):
            turn[bone] = FLIP[:, None] * turn[mirror[bone]] * FLIP
    return turn


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(3, 3) right-handed frame with the unit columns: `first`, the part of `second` at right angles to it, and their
    cross product."""
    x = first / np.linalg.norm(first)
    y = second - x * (x @ second)
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], 1)


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3) rotation by `angle` (rad) about the unit `axis` (Rodrigues' formula)."""
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _align(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(3, 3): the smallest rotation that turns `source` into the direction of `target`."""
    axis = np.cross(source, target)
    sine = np.linalg.norm(axis)
    return np.eye(3) if sine < 1e-12 else _about(axis / sine, np.arctan2(sine, source @ target))

"""The bones of Anny, 104 in all, that each of SMPL's 24 joints stands for."""

import numpy as np

from factory.geometry.joints import SMPL24, SMPL_PARENTS

ROOT_PARENT = 2**32 - 1  # how SMPL's files write "no parent"

# Joint -> the Anny bones that it moves. A name that ends in * is a prefix; where two names fit, the longer one counts.
_BONES = {
    "pelvis": ("root", "pelvis", "spine05"),
    "spine1": ("spine04", "spine03"),
    "spine2": ("spine02",),
    "spine3": ("spine01", "breast"),
    "neck": ("neck*",),
    "head": ("head", "eye"),
    "hip": ("upperleg*",),
    "knee": ("lowerleg*",),
    "ankle": ("foot",),
    "foot": ("toe*",),
    "collar": ("clavicle", "shoulder01"),
    "shoulder": ("upperarm*",),
    "elbow": ("lowerarm*",),
    "wrist": ("wrist", "metacarpal*", "finger1-1"),
    "hand": ("finger*",),
}
# Joint -> the bones whose heads give its position (their mean).
_HEADS = {
    "pelvis": ("root",),
    "spine1": ("spine04",),
    "spine2": ("spine02",),
    "spine3": ("spine01",),
    "neck": ("neck01",),
    "head": ("head",),
    "hip": ("upperleg01",),
    "knee": ("lowerleg01",),
    "ankle": ("foot",),
    "foot": ("toe1-1", "toe2-1", "toe3-1", "toe4-1", "toe5-1"),
    "collar": ("clavicle",),
    "shoulder": ("upperarm01",),
    "elbow": ("lowerarm01",),
    "wrist": ("wrist",),
    "hand": ("finger2-1", "finger3-1", "finger4-1", "finger5-1"),
}


def joint(name: str) -> int:
    """SMPL's index of a joint. Raises ValueError for a name that SMPL does not have."""
    return SMPL24.index(name)


def subtree(root: int) -> np.ndarray:
    """(24,) bool: the joints that move when joint `root` turns, and that joint."""
    inside = np.zeros(len(SMPL24), bool)
    inside[root] = True
    for child in range(root + 1, len(SMPL24)):
        inside[child] = inside[SMPL_PARENTS[child]]
    return inside


def kintree_table() -> np.ndarray:
    """(2, 24) int64 as in SMPL's files: the parent of each joint, and the joint's index."""
    parents = [ROOT_PARENT if parent < 0 else parent for parent in SMPL_PARENTS]
    return np.array([parents, range(len(SMPL_PARENTS))], dtype=np.int64)


def bones_to_joints(labels: list[str]) -> np.ndarray:
    """(bones, 24) matrix of 0 and 1 that sums Anny's skin weights into SMPL's joints. labels: Anny's bone names.

    Raises ValueError for a bone that no joint claims.
    """
    matrix = np.zeros((len(labels), len(SMPL24)), np.float32)
    for bone, label in enumerate(labels):
        stem, side = _split(label)
        claims = [
            (len(pattern), name)
            for name, patterns in _BONES.items()
            for pattern in patterns
            if stem == pattern or (pattern.endswith("*") and stem.startswith(pattern[:-1]))
        ]
        if not claims:
            raise ValueError(f"no joint claims Anny's bone {label!r}")
        name = max(claims)[1]
        matrix[bone, joint(side + name if side + name in SMPL24 else name)] = 1
    return matrix


def joint_heads(labels: list[str], heads: np.ndarray) -> np.ndarray:
    """(n, 24, 3) joint positions from (n, bones, 3) Anny bone heads."""

    def bones_of(name: str) -> list[int]:
        side, _, stem = name.rpartition("_")
        suffix = {"left": ".L", "right": ".R", "": ""}[side]
        return [labels.index(bone + suffix) for bone in _HEADS[stem]]

    return np.stack([heads[:, bones_of(name)].mean(1) for name in SMPL24], 1)


def mirrored_bones(labels: list[str]) -> np.ndarray:
    """(bones,) int: the bone on the other side of the body; a bone of the midline is its own."""
    other = {".L": ".R", ".R": ".L"}
    names = [label[:-2] + other[label[-2:]] if label[-2:] in other else label for label in labels]
    return np.array([labels.index(name) for name in names])


def _split(label: str) -> tuple[str, str]:
    """'toe1-1.L' -> ('toe1-1', 'left_')."""
    side = {".L": "left_", ".R": "right_"}.get(label[-2:], "")
    return (label[:-2] if side else label), side

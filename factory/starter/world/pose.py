"""Anatomical angles -> SMPL pose. People think in "hip flexed 90 degrees", SMPL in 24 axis-angle vectors.

Frame: SMPL's rest pose, x to the body's left, y up, z to its front, arms along x. All angles are degrees.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

# angle: (lowest, highest) by anatomy; "both sides" angles are given once and stored for left and right
LIMITS = {
    "pitch": (-360, 360),  # whole body, about x: 90 = face down, 180 = upside down, -90 = on the back
    "roll": (-360, 360),  # whole body, about z: tilts to its right (its left side rises)
    "bend": (-45, 100),  # spine forward
    "lean": (-40, 40),  # spine to the left
    "twist": (-60, 60),  # spine, chest to the left
    "nod": (-50, 50),  # head forward
    "turn": (-70, 70),  # head to the left
}
SIDE_LIMITS = {
    "hip": (-35, 135),  # thigh forward
    "spread": (-25, 85),  # thigh outward
    "hip_twist": (-45, 60),  # toes outward
    "knee": (0, 150),  # shin back
    "point": (-25, 55),  # toes down
    "lift": (-88, 92),  # arm: -85 hanging, 0 level, 90 overhead
    "forward": (-45, 125),  # arm: 0 sideways, 90 in front
    "arm_twist": (-90, 90),  # about its own length
    "elbow": (0, 148),
    "wrist": (-50, 50),
}
ANGLES = {**LIMITS, **{f"{name}_{side}": limit for name, limit in SIDE_LIMITS.items() for side in "lr"}}
INDEX = {name: i for i, name in enumerate(ANGLES)}
LOW, HIGH = np.array(list(ANGLES.values()), float).T
STANDING = {"lift": -76, "elbow": 12, "forward": 5, "spread": 4, "knee": 4, "hip": 2}


def key_pose(**angles: float) -> np.ndarray:
    """A vector of all angles, standing at ease where nothing is said. `knee=90` bends both, `knee_l=90` the left."""
    vector = np.zeros(len(ANGLES))
    for name, value in {**STANDING, **angles}.items():
        for full in (name,) if name in INDEX else (f"{name}_l", f"{name}_r"):
            vector[INDEX[full]] = value
    return vector


def mirror(vector: np.ndarray) -> np.ndarray:
    """The same pose, left and right exchanged."""
    out = vector.copy()
    for name, i in INDEX.items():
        if name in ("roll", "lean", "twist", "turn"):
            out[i] = -vector[i]
        elif name.endswith(("_l", "_r")):
            out[i] = vector[INDEX[name[:-1] + ("r" if name.endswith("l") else "l")]]
    return out


def to_smpl(vector: np.ndarray, yaw: float = 0.0) -> np.ndarray:
    """Angles -> (24, 3) axis-angle rad, world frame; yaw turns the whole body about the vertical (to its left)."""
    a = {name: float(vector[i]) for name, i in INDEX.items()}
    pose = np.zeros((24, 3))

    def put(joint: int, order: str, *degrees: float) -> None:
        pose[joint] = Rotation.from_euler(order, degrees, degrees=True).as_rotvec()

    put(0, "YXZ", yaw, a["pitch"], a["roll"])
    for joint in (3, 6, 9):
        put(joint, "YXZ", a["twist"] / 3, a["bend"] / 3, -a["lean"] / 3)
    for joint in (12, 15):
        put(joint, "YX", a["turn"] / 2, a["nod"] / 2)
    for side, sign, hip, knee, ankle, collar, shoulder, elbow, wrist in (
        ("l", 1, 1, 4, 7, 13, 16, 18, 20),
        ("r", -1, 2, 5, 8, 14, 17, 19, 21),
    ):
        put(hip, "XZY", -a[f"hip_{side}"], sign * a[f"spread_{side}"], sign * a[f"hip_twist_{side}"])
        put(knee, "X", a[f"knee_{side}"])
        put(ankle, "X", a[f"point_{side}"])
        lift = a[f"lift_{side}"]
        shrug = 0.3 * max(lift - 15, 0)  # the collar bone carries part of a raised arm
        put(collar, "Z", sign * shrug)
        put(shoulder, "YZX", -sign * a[f"forward_{side}"], sign * (lift - shrug), a[f"arm_twist_{side}"])
        put(elbow, "Y", -sign * a[f"elbow_{side}"])
        put(wrist, "Z", sign * a[f"wrist_{side}"])
    return pose

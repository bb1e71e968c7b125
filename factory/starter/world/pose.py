"""Anatomical angles ("hip flexed by 90 degrees") -> SMPL's pose of 24 axis-angle vectors.

Frame: SMPL's rest pose, x to the body's left, y up, z to its front, arms along x. All angles are in degrees.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

# Angle: (lowest, highest) by anatomy. Those of SIDE_LIMITS exist for the left and for the right side.
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
    """The vector of all angles, in the order of ANGLES. Angles not given are those of standing at ease. `knee=90` bends
    both knees, `knee_l=90` the left one."""
    vector = np.zeros(len(ANGLES))
    for name, value in {**STANDING, **angles}.items():
        for full in (name,) if name in INDEX else (f"{name}_l", f"{name}_r"):
            vector[INDEX[full]] = value
    return vector


def mirror(vector: np.ndarray) -> np.ndarray:
    """The vector of the mirror image: left and right exchanged."""
    out = vector.copy()
    for name, i in INDEX.items():
        if name in ("roll", "lean", "twist", "turn"):
            out[i] = -vector[i]
        elif name.endswith(("_l", "_r")):
            out[i] = vector[INDEX[name[:-1] + ("r" if name.endswith("l") else "l")]]
    return out


def to_smpl(vector: np.ndarray, yaw: float = 0.0) -> np.ndarray:
    """Angles -> (24, 3) axis-angle rad, world frame; yaw turns the whole body about the vertical (to its left)."""
    angle = {name: float(vector[i]) for name, i in INDEX.items()}
    pose = np.zeros((24, 3))

    def put(joint: int, order: str, *degrees: float) -> None:
        pose[joint] = Rotation.from_euler(order, degrees, degrees=True).as_rotvec()

    put(0, "YXZ", yaw, angle["pitch"], angle["roll"])
    for joint in (3, 6, 9):
        put(joint, "YXZ", angle["twist"] / 3, angle["bend"] / 3, -angle["lean"] / 3)
    for joint in (12, 15):
        put(joint, "YX", angle["turn"] / 2, angle["nod"] / 2)
    for side, sign, hip, knee, ankle, collar, shoulder, elbow, wrist in (
        ("l", 1, 1, 4, 7, 13, 16, 18, 20),
        ("r", -1, 2, 5, 8, 14, 17, 19, 21),
    ):
        put(hip, "XZY", -angle[f"hip_{side}"], sign * angle[f"spread_{side}"], sign * angle[f"hip_twist_{side}"])
        put(knee, "X", angle[f"knee_{side}"])
        put(ankle, "X", angle[f"point_{side}"])
        lift = angle[f"lift_{side}"]
        shrug = 0.3 * max(lift - 15, 0)  # above 15 degrees the collar bone turns along with the arm
        put(collar, "Z", sign * shrug)
        put(shoulder, "YZX", -sign * angle[f"forward_{side}"], sign * (lift - shrug), angle[f"arm_twist_{side}"])
        put(elbow, "Y", -sign * angle[f"elbow_{side}"])
        put(wrist, "Z", sign * angle[f"wrist_{side}"])
    return pose

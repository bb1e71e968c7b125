"""The range of each joint, and random rotations within it, on which correctives and regressors are fitted."""

import numpy as np
from scipy.spatial.transform import Rotation

from factory.geometry.joints import SMPL24

# Degrees (low, high) about x, y, z, for joints of the midline and of the left side; the right side is mirrored.
# Joints that are not listed have the range _MILD.
_MILD = ((-45, 45), (-45, 45), (-45, 45))
_TURNS = {
    "left_hip": ((-130, 40), (-50, 50), (-40, 70)),
    "left_knee": ((-10, 150), (-25, 25), (-15, 15)),
    "left_ankle": ((-45, 60), (-40, 40), (-35, 35)),
    "left_foot": ((-50, 40), (-10, 10), (-10, 10)),
    "spine1": ((-35, 60), (-40, 40), (-40, 40)),
    "spine2": ((-35, 50), (-40, 40), (-35, 35)),
    "neck": ((-45, 50), (-60, 60), (-45, 45)),
    "head": ((-45, 45), (-60, 60), (-40, 40)),
    "left_collar": ((-20, 20), (-35, 35), (-25, 45)),
    "left_shoulder": ((-90, 90), (-100, 60), (-100, 100)),
    "left_elbow": ((-100, 100), (-150, 20), (-40, 40)),
    "left_wrist": ((-110, 110), (-50, 50), (-90, 90)),
    "left_hand": ((-30, 30), (-30, 30), (-100, 40)),
}


def random_turns(joint: int, count: int, rng: np.random.Generator) -> Rotation:
    """`count` rotations of one joint, uniform over its ranges."""
    name = SMPL24[joint]
    low, high = np.array(_TURNS.get(name.replace("right", "left"), _MILD)).T
    degrees = rng.uniform(low, high, (count, 3))
    return Rotation.from_euler("xyz", degrees * [1, -1, -1] if name.startswith("right") else degrees, degrees=True)


def random_poses(count: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """(count, 24, 3) axis-angle, rad: poses with the root unturned. The angle of every joint is scaled by `share`."""
    turns = [random_turns(j, count, rng).as_rotvec() * share for j in range(1, len(SMPL24))]
    return np.stack([np.zeros((count, 3)), *turns], 1)

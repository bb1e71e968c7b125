"""The actions of the starter world: the categories kept of MPII, the six of SMART, and yoga, each with its key poses.

A pose of an action is a random mixture of two of its key poses, with noise, clipped to the joint limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.starter.world.pose import HIGH, INDEX, LOW, key_pose, mirror


@dataclass(frozen=True)
class Action:
    """What a scene of the action is drawn from."""

    keys: tuple[np.ndarray, ...]  # key poses: vectors of angles in degrees, see pose.py
    support: str = "ground"  # what carries the body: a key of scene.SUPPORT
    background: str = "park"  # a key of backgrounds.BACKGROUNDS
    props: tuple[str, ...] = ()  # keys of props.PROPS
    hard: bool = False  # the poses are far from standing
    noise: float = 8.0  # standard deviation of the limb angles, degrees


def _action(*keys: dict[str, float], **options: Any) -> Action:
    return Action(tuple(key_pose(**k) for k in keys), **options)


_SITTING = {"hip": 88, "knee": 85, "spread": 10, "bend": 8}
_TUCK = {"hip": 128, "knee": 140, "bend": 60, "lift": -55, "forward": 75, "elbow": 60, "spread": 6}
_PIKE = {"hip": 120, "knee": 4, "bend": 45, "lift": -20, "forward": 88, "elbow": 6, "point": 40}
_STRAIGHT_UP = {"lift": 86, "elbow": 6, "hip": 0, "knee": 3, "spread": 2, "point": 45}

ACTIONS: dict[str, Action] = {
    "walking": _action(
        {"hip_l": 28, "knee_l": 8, "hip_r": -18, "knee_r": 18, "forward_r": 40, "elbow": 25, "forward_l": -25},
        {"hip_l": 8, "knee_l": 40, "hip_r": 2, "elbow": 18},
        background="street", noise=5,
    ),
    "running": _action(
        {"hip_l": 75, "knee_l": 85, "hip_r": -20, "knee_r": 35, "elbow": 95, "lift": -68, "forward_r": 55, "forward_l": -30,
         "bend": 12, "point_r": 35},
        {"hip_l": 35, "knee_l": 20, "hip_r": -15, "knee_r": 100, "elbow": 95, "lift": -65, "forward_r": 35, "forward_l": -25,
         "bend": 15, "point_r": 30},
        background="track", noise=7,
    ),
    "bicycling": _action(
        {"hip_l": 95, "knee_l": 95, "hip_r": 50, "knee_r": 45, "bend": 40, "lift": -28, "forward": 86, "elbow": 15, "nod": -25},
        {"hip_l": 75, "knee_l": 75, "hip_r": 75, "knee_r": 75, "bend": 50, "lift": -32, "forward": 86, "elbow": 25, "nod": -30},
        support="saddle", background="street", props=("bicycle",), noise=4,
    ),
    "conditioning exercise": _action(
        {"hip": 95, "knee": 105, "bend": 25, "lift": -5, "forward": 86, "elbow": 8, "spread": 18, "point": -18},
        {"lift": 82, "elbow": 10, "spread": 20, "knee": 4},
        {"hip": 60, "knee": 80, "bend": 20, "lift": 75, "elbow": 12, "spread": 20, "point": -15},
        background="gym", props=("barbell",), noise=6,
    ),
    "dancing": _action(
        {"lift_l": 60, "lift_r": -10, "elbow": 30, "hip_l": 60, "spread_l": 50, "knee_l": 70, "twist": 20, "point": 30},
        {"lift": 70, "elbow": 35, "hip_l": 10, "spread_l": 75, "knee_l": 6, "lean": -20, "point": 35},
        {"lift_l": 20, "lift_r": 75, "elbow_r": 50, "hip_l": 95, "knee_l": 110, "bend": -20, "twist": -25, "point": 35},
        {"lift": 15, "elbow": 10, "hip_l": -30, "knee_l": 80, "bend": -25, "forward_r": 60, "point_l": 45},
        background="stage", hard=True, noise=14,
    ),
    "fishing and hunting": _action(
        {"lift": -45, "forward": 70, "elbow": 70, "spread": 12, "knee": 10},
        {"lift": -20, "forward": 80, "elbow": 45, "bend": -8, "spread": 14},
        background="lake", props=("rod",), noise=6,
    ),
    "home activities": _action(
        {**_SITTING, "lift": -60, "forward": 50, "elbow": 60},
        {**_SITTING, "lift_l": -70, "lift_r": -30, "forward_r": 70, "elbow": 50, "bend": 20, "knee_l": 60},
        support="seat", background="room", props=("seat",), noise=6,
    ),
    "home repair": _action(
        {"lift_r": 50, "forward_r": 60, "elbow_r": 70, "lift_l": -10, "forward_l": 80, "elbow_l": 40, "nod": -20},
        {"hip_l": 90, "knee_l": 90, "hip_r": 0, "knee_r": 95, "lift": -30, "forward": 75, "elbow": 60, "bend": 20},
        background="room", props=("panel",), noise=7,
    ),
    "lawn and garden": _action(
        {"bend": 55, "hip": 30, "knee": 20, "lift": -50, "forward": 70, "elbow": 35, "spread": 12, "twist": 15},
        {"hip": 115, "knee": 135, "bend": 35, "lift": -50, "forward": 65, "elbow": 30, "spread": 18, "point": -20},
        {"bend": 35, "lift": -40, "forward": 70, "elbow": 40, "hip_l": 30, "knee_l": 25, "twist": -20},
        background="garden", props=("rake",), noise=7,
    ),
    "music playing": _action(
        {"lift_l": -30, "forward_l": 35, "elbow_l": 95, "lift_r": -60, "forward_r": 40, "elbow_r": 85, "spread": 8},
        {"lift_l": -20, "forward_l": 45, "elbow_l": 80, "lift_r": -55, "forward_r": 45, "elbow_r": 95, "spread": 14, "nod": 20,
         "knee_l": 20, "hip_l": 15},
        background="stage", props=("guitar",), noise=5,
    ),
    "occupation": _action(
        {"lift": -65, "forward": 80, "elbow": 85, "spread": 8},
        {"lift": -50, "forward": 85, "elbow": 60, "hip": 45, "knee": 55, "bend": 30, "spread": 12, "point": -15},
        background="room", props=("carried_box",), noise=5,
    ),
    "religious activities": _action(
        {"hip": 5, "knee": 95, "lift": -55, "forward": 80, "elbow": 115, "nod": 30, "bend": 12, "point": 45},
        {"hip": 110, "knee": 145, "bend": 50, "lift": 20, "forward": 86, "elbow": 20, "nod": 20, "point": 50},
        {"lift": -45, "forward": 85, "elbow": 125, "nod": 30},
        background="room", noise=5,
    ),
    "self care": _action(
        {"lift_r": 5, "forward_r": 60, "elbow_r": 135, "lift_l": -75, "turn": 15},
        {"lift": 20, "forward": 45, "elbow": 138, "bend": 5},
        background="room", props=("mirror",), noise=6,
    ),
    "sports": _action(
        {"hip_r": 80, "knee_r": 25, "hip_l": -5, "lift_l": 10, "forward_l": 30, "lift_r": -35, "forward_r": -35, "bend": -12,
         "point_r": 35, "elbow": 20},
        {"lift_r": 45, "forward_r": -25, "elbow_r": 80, "lift_l": 5, "forward_l": 60, "hip_l": 55, "knee_l": 35, "hip_r": -25,
         "knee_r": 25, "twist": -35},
        {"lift": 75, "forward": 30, "elbow": 25, "knee": 35, "hip": 25, "point": 40},
        background="field", props=("ball",), noise=9,
    ),
    "transportation": _action(
        {"hip": 75, "spread": 42, "knee": 75, "lift": -55, "forward": 75, "elbow": 65},
        {"hip": 65, "spread": 45, "knee": 60, "bend": 25, "lift": -45, "forward": 78, "elbow": 50},
        support="saddle", background="field", props=("horse",), noise=4,
    ),
    "volunteer activities": _action(
        {"bend": 60, "hip": 50, "knee": 40, "lift": -40, "forward": 80, "elbow": 20, "spread": 10},
        {"lift_r": -10, "forward_r": 80, "elbow_r": 20, "lift_l": -50, "forward_l": 60, "elbow_l": 80, "bend": 15},
        background="street", props=("crate",), noise=7,
    ),
    "water activities": _action(
        {"hip": 75, "knee": 85, "spread": 15, "lift": -5, "forward": 10, "elbow": 20, "bend": 25, "twist": 25, "point": -15},
        {"hip": 45, "knee": 55, "spread": 22, "lift_l": 20, "lift_r": -10, "elbow": 15, "bend": 15, "lean": 12, "point": -10},
        background="water", props=("surfboard",), noise=7,
    ),
    "winter activities": _action(
        {"hip": 70, "knee": 80, "bend": 40, "lift": -60, "forward": 60, "elbow": 70, "point": -20, "nod": -20},
        {"hip": 50, "knee": 60, "bend": 35, "lift": -35, "forward": 50, "elbow": 45, "lean": 15, "point": -18},
        background="snow", props=("skis",), noise=6,
    ),
    "high jump": _action(
        {"pitch": -95, "bend": -40, "hip": -25, "knee": 75, "lift": -40, "elbow": 15, "nod": -35, "point": 20},
        {"pitch": -70, "bend": -38, "hip": -15, "knee": 60, "lift_l": 70, "lift_r": -50, "elbow": 20, "nod": -25},
        {"pitch": -125, "bend": -25, "hip": 35, "knee": 50, "lift": -30, "elbow": 20, "nod": 10},
        support="over_bar", background="stadium", props=("high_bar",), hard=True, noise=8,
    ),
    "vault": _action(
        {**_STRAIGHT_UP, "pitch": 165, "hip": 15},
        {**_STRAIGHT_UP, "pitch": 130, "bend": 15, "hip": 25},
        {**_STRAIGHT_UP, "pitch": 205, "bend": -15, "spread": 25},
        support="hands_on", background="hall", props=("gym_horse",), hard=True, noise=7,
    ),
    "pole vault": _action(
        {"pitch": 150, "hip": 50, "knee": 25, "lift": 20, "forward": 60, "elbow": 60, "bend": 10},
        {"pitch": 195, "hip": 10, "knee": 6, "lift_l": 40, "lift_r": 75, "elbow": 20, "point": 40},
        {"pitch": 100, "hip": 80, "knee": 60, "lift": 80, "elbow": 15, "bend": 15},
        support="air", background="stadium", props=("vault_pole",), hard=True, noise=8,
    ),
    "diving": _action(
        {**_PIKE, "pitch": 100},
        {**_TUCK, "pitch": 120},
        {**_STRAIGHT_UP, "pitch": 170},
        {**_PIKE, "pitch": 200, "hip": 95},
        support="air", background="pool", props=("springboard",), hard=True, noise=7,
    ),
    "gymnastics on uneven bars": _action(
        {**_STRAIGHT_UP, "bend": -8},
        {**_STRAIGHT_UP, "pitch": 60, "hip": 25},
        {**_STRAIGHT_UP, "pitch": -70, "bend": -20},
        {**_STRAIGHT_UP, "pitch": 178},
        {**_PIKE, "pitch": 30, "lift": 60, "forward": 60},
        support="hands_hang", background="hall", props=("uneven_bars",), hard=True, noise=6,
    ),
    "gymnastics on a balance beam": _action(
        {"bend": 75, "hip_r": 35, "hip_l": -35, "knee": 3, "pitch": 20, "lift": 10, "elbow": 6, "point_l": 50, "nod": -30},
        {"spread": 80, "hip": 30, "knee": 4, "lift": 10, "elbow": 8, "point": 45},
        {"hip_l": 110, "spread_l": 20, "knee_l": 5, "lift": 35, "elbow": 8, "point": 45},
        {**_STRAIGHT_UP, "pitch": 180, "hip_l": 70, "hip_r": -30, "lift": 86},
        support="beam", background="hall", props=("beam",), hard=True, noise=6,
    ),
    "yoga": _action(
        {"hip": 110, "knee": 4, "bend": 45, "lift": 80, "elbow": 5, "pitch": 25, "point": -15},
        {"hip_l": 85, "knee_l": 90, "hip_r": -30, "knee_r": 8, "spread": 12, "lift": 0, "elbow": 4, "turn": 60},
        {"hip_l": 70, "spread_l": 65, "knee_l": 135, "lift": 84, "elbow": 12},
        {"pitch": 180, "lift": 60, "elbow": 120, "hip": 0, "knee": 3, "point": 30, "spread": 2},
        {"spread": 35, "lean": 38, "hip": 25, "lift_l": 55, "lift_r": -30, "elbow": 5, "bend": 10},
        {"hip": 95, "spread": 40, "hip_twist": 40, "knee": 135, "lift": -55, "elbow": 30, "forward": 35},
        background="studio", props=("mat",), hard=True, noise=5,
    ),
}  # fmt: skip

_WHOLE_BODY = [INDEX[name] for name in ("pitch", "roll")]
_FINE = [INDEX[f"{name}_{side}"] for name in ("wrist", "point", "hip_twist") for side in "lr"]


def sample_pose(action: Action, rng: np.random.Generator) -> np.ndarray:
    """A pose of the action as a vector of angles (see pose.py), degrees, within joint limits."""
    first, second = rng.integers(len(action.keys), size=2)
    mix = rng.beta(0.5, 0.5)  # mostly close to one of the two
    vector = (1 - mix) * action.keys[first] + mix * action.keys[second]
    noise = np.full(len(vector), action.noise)
    noise[_WHOLE_BODY] = 1.5 * action.noise if action.hard else 2
    noise[_FINE] = 5
    vector = np.clip(vector + noise * rng.standard_normal(len(vector)), LOW, HIGH)
    return mirror(vector) if rng.random() < 0.5 else vector

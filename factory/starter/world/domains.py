"""Target domains of the starter world: what nobody has trained on, to see what training on it is worth.

A domain has its own look (palette, sky, ground, light, clothes) and its own camera, and actions that the base estimator
has not seen. `domain_files.py` writes one as the data sets of the field are laid out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from factory.errors import UserError
from factory.starter.world.actions import ACTIONS, Action
from factory.starter.world.backgrounds import Background
from factory.starter.world.look import Light, Look, Viewpoint
from factory.starter.world.pose import key_pose
from factory.starter.world.scene import Scene, World
from factory.starter.world.wardrobe import Outfit

Split = Literal["train", "test"]
SMART = ("high jump", "vault", "pole vault", "diving", "gymnastics on uneven bars", "gymnastics on a balance beam")
SKIING = "alpine skiing"  # as `sources.skipose` calls it

# Poses of slalom: both legs bent, the body inclined to the inside of the turn, the hands before the body.
_HANDS = {"lift": -48, "forward": 62, "elbow": 62}
_TURN = {**_HANDS, "nod": -15, "point": -20, "hip_l": 42, "knee_l": 45, "hip_r": 92, "knee_r": 98, "spread": 6}
ALPINE = Action(
    tuple(
        key_pose(**angles)
        for angles in (
            {**_TURN, "roll": 42, "lean": -24, "bend": 34, "twist": -16},
            {**_TURN, "roll": 26, "lean": -14, "bend": 42, "lift_l": -15, "forward_l": 75, "elbow_l": 25},
            {**_HANDS, "hip": 98, "knee": 104, "bend": 62, "nod": -45, "point": -22, "lift": -40, "forward": 90},
            {**_HANDS, "hip": 40, "knee": 48, "bend": 26, "nod": -12, "point": -16, "spread": 9},
            {"hip": 72, "knee": 84, "bend": 40, "lift": -8, "forward": 40, "elbow": 20, "lean": 18, "spread": 16},
        )
    ),
    background="piste",
    props=("skis",),
    hard=True,
    noise=9,
)

# A clip of SMART shows the whole movement. The world's actions are the moment that is hardest; these are take-off,
# turning and landing around it. With them an estimator of everyday actions is wrong in the domain, and not lost.
_REACH: dict[str, float] = {"lift": 86, "elbow": 6, "hip": 0, "knee": 3, "spread": 2, "point": 45}
_AROUND: dict[str, tuple[dict[str, float], ...]] = {
    "high jump": (
        {"hip_l": 80, "knee_l": 85, "hip_r": -12, "knee_r": 8, "lift": 40, "elbow": 40, "bend": -8, "point_r": 40},
        {"hip_l": 55, "knee_l": 70, "hip_r": 10, "knee_r": 30, "lift_l": 75, "lift_r": 10, "elbow": 30, "twist": 25},
        {"pitch": -40, "hip": 30, "knee": 60, "lift": 10, "elbow": 30, "bend": -15},
    ),
    "vault": (
        {"lift": 70, "forward": 40, "elbow": 15, "hip": 20, "knee": 35, "bend": 10},
        {"lift": 20, "elbow": 10, "hip": 55, "knee": 70, "bend": 25},
        {**_REACH, "pitch": 65, "hip": 20},
    ),
    "pole vault": (
        {"hip_l": 70, "knee_l": 80, "hip_r": -15, "knee_r": 15, "lift": 70, "forward": 50, "elbow": 30},
        {"pitch": -40, "hip": 60, "knee": 60, "lift": 80, "forward": 30, "elbow": 25},
        {"pitch": 40, "hip": 35, "knee": 10, "lift": 30, "forward": 60, "elbow": 40},
    ),
    "diving": (
        _REACH,
        {"lift": 75, "hip": 85, "knee": 95, "bend": 25, "point": 35},
        {"hip": 100, "knee": 8, "bend": 35, "lift": -10, "forward": 80, "elbow": 8, "pitch": 30},
        {**_REACH, "lift": 20, "bend": -15, "pitch": 40},
    ),
    "gymnastics on uneven bars": (
        {**_REACH, "hip": 70},
        {**_REACH, "pitch": 25, "spread": 25},
        {"lift": -60, "forward": 40, "elbow": 10, "hip": 15, "knee": 3, "bend": 10, "point": 40},
        {"lift": -55, "forward": 60, "elbow": 15, "hip": 60, "knee": 10, "pitch": 20},
    ),
    "gymnastics on a balance beam": (
        {"lift": 0, "elbow": 6, "hip_l": 25, "knee_l": 10, "point_l": 40},
        {"hip_l": 70, "knee_l": 100, "hip_r": 40, "knee_r": 60, "lift": 10, "elbow": 15},
        {"lift": 60, "elbow": 15, "hip_l": 40, "knee_l": 15, "hip_r": -25, "knee_r": 5, "bend": -8},
        {"lift": 15, "elbow": 10, "hip_l": 85, "knee_l": 85, "point": 35},
    ),
}


def _whole_movement(name: str) -> Action:
    action = ACTIONS[name]
    return replace(action, keys=(*action.keys, *(key_pose(**angles) for angles in _AROUND[name])))


_TRICOTS = np.array(
    [[0.95, 0.1, 0.5], [0.1, 0.85, 0.7], [0.55, 0.95, 0.15], [0.3, 0.1, 0.6], [1.0, 0.55, 0.0], [0.05, 0.1, 0.35]]
)
_SUITS = np.array(
    [[0.05, 0.06, 0.2], [0.75, 0.05, 0.3], [0.95, 0.85, 0.1], [0.1, 0.6, 0.55], [0.9, 0.4, 0.8], [0.15, 0.15, 0.15]]
)
# A floodlit arena at night, seen from the stands through a long lens.
ARENA = Look(
    backgrounds={
        "stadium": Background(
            (0.13, 0.3, 0.36), (0.75, 0.75, 0.6), "rings", (0.14, 0.11, 0.2), (0.22, 0.12, 0.3), wall=True, crowd=0.5
        ),
        "hall": Background(
            (0.55, 0.16, 0.2), (0.72, 0.52, 0.2), "blotches", (0.1, 0.22, 0.2), (0.75, 0.6, 0.15), wall=True, crowd=0.35
        ),
        "pool": Background(
            (0.03, 0.22, 0.2), (0.06, 0.36, 0.27), "waves", (0.36, 0.18, 0.1), (0.55, 0.3, 0.12), wall=True, crowd=0.4
        ),
    },
    view=Viewpoint(
        size=256, supersampling=1, elevation=(10, 48), roll=5, focal=(600, 1400), fill=(0.5, 0.74), shift=7, lowest=1.2,
        facing=(0, 0),
    ),
    light=Light(
        everywhere=0.3, above=0.3, sun=0.6, shadow=0.5, sideways=1.4, height=(1.2, 2.4), behind=0.2,
        colour=(1.12, 0.97, 0.74), noise=0.025,
    ),
    outfit=Outfit(_TRICOTS, 0.8, (0.6, 0.15, 0.25), (0.6, 0.25, 0.15)),
    subjects=("a woman", "a man", "an athlete", "a young person", "a teenager"),
    alone=1,
    hidden=0.1,
)  # fmt: skip
# A piste under an evening sky, seen from below or from a cable car.
PISTE = Look(
    backgrounds={
        "piste": Background(
            (0.66, 0.66, 0.9), (0.5, 0.52, 0.8), "blotches", (0.2, 0.2, 0.34), (1.0, 0.62, 0.42), (0.36, 0.22, 0.5)
        )
    },
    view=Viewpoint(
        size=256, supersampling=1, elevation=(-4, 40), roll=9, focal=(700, 1600), fill=(0.42, 0.66), shift=6,
        lowest=0.3, facing=(0, 0),
    ),
    light=Light(
        everywhere=0.45, above=0.05, sun=0.6, shadow=0.7, sideways=1.6, height=(0.3, 0.7), behind=-0.3,
        colour=(1.0, 0.88, 1.02), noise=0.02,
    ),
    outfit=Outfit(_SUITS, 0.75, (0, 0, 1), (0, 0, 1), helmet=True),
    subjects=("a woman", "a man", "an athlete", "a young person", "a teenager"),
    alone=1,
    hidden=0.1,
)  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """A target domain. layout: the data set that it is laid out as; train: its images for training, of each action."""

    name: str
    layout: Literal["smart", "skipose"]
    look: Look
    actions: Mapping[str, Action]
    train: int
    test: int = 500  # held-out images, of all actions together


DOMAINS = {
    domain.name: domain
    for domain in (
        Domain("smart-like", "smart", ARENA, {name: _whole_movement(name) for name in SMART}, 100),
        Domain("ski-like", "skipose", PISTE, {SKIING: ALPINE}, 600),
    )
}


def find_domain(name: str) -> Domain:
    """UserError for a name that no domain has."""
    if name not in DOMAINS:
        raise UserError(f"domain {name}: there are {', '.join(DOMAINS)}")
    return DOMAINS[name]


class DomainWorld:
    """Draws the scenes of a domain, each with one person."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.world = World(look=domain.look, actions=domain.actions)

    def sample(self, seed: int, split: Split, action: str, number: int) -> Scene:
        """The scene with this number among those of an action in a split. seed: the domain's."""
        return self.world.sample(self.scene_seed(seed, split, action, number), action)

    def scene_seed(self, seed: int, split: Split, action: str, number: int) -> int:
        """The seed from which the scene of these arguments of `sample` follows."""
        words = f"{self.domain.name} {seed} {split} {action} {number}"
        return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest())

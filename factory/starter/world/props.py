"""Props of a scene: closed meshes placed against a posed body. Each is a labelled object in the ground truth.

World frame: y up, the ground at 0, metres. The body faces `front` (unit vector, horizontal); `side` is to its left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import trimesh
from trimesh import creation

# Indices of SMPL's joints that the props are placed by.
PELVIS, SPINE3, HEAD = 0, 9, 15
FEET, WRISTS, HANDS, KNEES = (10, 11), (20, 21), (22, 23), (4, 5)


@dataclass
class Prop:
    """A closed mesh of one colour. label: the name of the object; vertices (V, 3) m, world frame; faces (F, 3); colour
    (3,) RGB in [0, 1]."""

    label: str
    vertices: np.ndarray
    faces: np.ndarray
    colour: np.ndarray


@dataclass
class Setting:
    """The posed body that a prop is placed against. joints (J, 3) and vertices (V, 3) m, world frame; front (3,)."""

    joints: np.ndarray
    vertices: np.ndarray
    front: np.ndarray
    rng: np.random.Generator

    @property
    def side(self) -> np.ndarray:
        """(3,) unit vector to the body's left."""
        return np.cross([0, 1, 0], self.front)

    def mid(self, joints: tuple[int, ...]) -> np.ndarray:
        """(3,) m: the point in the middle of some joints."""
        return self.joints[list(joints)].mean(0)

    @property
    def frame(self) -> np.ndarray:
        """(4, 4) body frame -> world. Body frame: x left, y up, z to the front, origin on the ground below it."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([self.side, [0, 1, 0], self.front], 1)
        matrix[[0, 2], 3] = self.joints[PELVIS, [0, 2]]
        return matrix


BRIGHT = np.array(
    [
        [0.85, 0.2, 0.15],
        [0.95, 0.75, 0.1],
        [0.1, 0.45, 0.8],
        [0.15, 0.6, 0.3],
        [0.9, 0.9, 0.9],
        [0.25, 0.25, 0.3],
        [0.6, 0.3, 0.65],
    ]
)
WOOD = np.array([[0.55, 0.36, 0.2], [0.7, 0.52, 0.3], [0.4, 0.26, 0.16]])
METAL = np.array([[0.6, 0.62, 0.65], [0.35, 0.36, 0.4], [0.8, 0.8, 0.82]])


def _pick(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(colours[rng.integers(len(colours))] + rng.normal(0, 0.03, 3), 0.05, 0.98)


def _rod(start: np.ndarray, end: np.ndarray, radius: float) -> trimesh.Trimesh:
    return creation.cylinder(radius, segment=np.stack([start, end]), sections=10)


def _box(size: tuple[float, float, float], centre: np.ndarray) -> trimesh.Trimesh:
    mesh = creation.box(size)
    mesh.apply_translation(centre)
    return mesh


def _join(meshes: list[trimesh.Trimesh]) -> trimesh.Trimesh:
    return cast(trimesh.Trimesh, trimesh.util.concatenate(meshes))


def _local(setting: Setting, *meshes: trimesh.Trimesh) -> trimesh.Trimesh:
    """Join meshes that were built in the body's frame, and move them into the world frame."""
    mesh = _join(list(meshes))
    mesh.apply_transform(setting.frame)
    return mesh


def _through_hands(
    setting: Setting, before: float, after: float, radius: float, direction: np.ndarray
) -> trimesh.Trimesh:
    """A rod along `direction` through the middle of the hands, from `before` m behind it to `after` m beyond it."""
    centre = setting.mid(HANDS)
    direction = direction / np.linalg.norm(direction)
    return _rod(centre - before * direction, centre + after * direction, radius)


def _bicycle(s: Setting) -> trimesh.Trimesh:
    seat = s.joints[PELVIS, 1] - 0.12
    wheels = []
    for z in (-0.5, 0.55):
        wheel = creation.torus(0.31, 0.028, major_sections=20, minor_sections=6)
        wheel.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
        wheel.apply_translation([0, 0.34, z])
        wheels.append(wheel)
    p = {
        "crank": (0, 0.32, 0.0),
        "seat": (0, seat, -0.08),
        "bar": (0, seat + 0.12, 0.48),
        "front": (0, 0.34, 0.55),
        "back": (0, 0.34, -0.5),
    }
    points = {k: np.array(v) for k, v in p.items()}
    pairs = [
        ("crank", "seat"),
        ("crank", "bar"),
        ("seat", "bar"),
        ("bar", "front"),
        ("back", "crank"),
        ("back", "seat"),
    ]
    rods = [_rod(points[a], points[b], 0.022) for a, b in pairs]
    rods.append(_rod(points["bar"] - [0.22, 0, 0], points["bar"] + [0.22, 0, 0], 0.018))
    return _local(s, *wheels, *rods)


def _horse(s: Setting) -> trimesh.Trimesh:
    top = s.joints[PELVIS, 1] - 0.16
    body = creation.capsule(1.0, 0.24, count=[12, 12])  # along z
    body.apply_translation([0, top - 0.2, -0.45])
    legs = [_rod(np.array([x, 0, z]), np.array([x, top - 0.25, z]), 0.055) for x in (-0.13, 0.13) for z in (-0.4, 0.5)]
    neck = _rod(np.array([0, top - 0.1, 0.6]), np.array([0, top + 0.38, 0.95]), 0.1)
    head = _rod(np.array([0, top + 0.42, 0.9]), np.array([0, top + 0.2, 1.25]), 0.085)
    tail = _rod(np.array([0, top - 0.1, -0.65]), np.array([0, top - 0.6, -0.85]), 0.04)
    return _local(s, body, *legs, neck, head, tail)


def _seat(s: Setting) -> trimesh.Trimesh:
    top = s.joints[PELVIS, 1] - 0.11
    width = s.rng.uniform(0.5, 1.6)
    parts = [_box((width, top, 0.5), np.array([0, top / 2, -0.08]))]
    if s.rng.random() < 0.6:
        parts.append(_box((width, top + 0.5, 0.12), np.array([0, (top + 0.5) / 2, -0.36])))
    return _local(s, *parts)


def _barbell(s: Setting) -> trimesh.Trimesh:
    centre, side = s.mid(HANDS), s.side
    discs = [_rod(centre + x * side, centre + (x + 0.06) * side, 0.2) for x in (-0.72, 0.66)]
    return _join([_rod(centre - 0.75 * side, centre + 0.75 * side, 0.018), *discs])


def _guitar(s: Setting) -> trimesh.Trimesh:
    belly = s.joints[3] + 0.2 * s.front
    direction = s.joints[HANDS[0]] - belly
    direction = direction / np.linalg.norm(direction)
    thick = s.front * 0.045
    bodies = [creation.cylinder(r, segment=np.stack([c - thick, c + thick]), sections=14)
              for r, c in ((0.19, belly - 0.12 * direction), (0.14, belly + 0.1 * direction))]  # fmt: skip
    return _join([*bodies, _rod(belly, belly + 0.72 * direction, 0.03)])


def _panel(s: Setting) -> trimesh.Trimesh:
    """A panel at the body's side. In front of the body it would hide the person at work on it."""
    x, z = s.rng.choice([-1, 1]) * s.rng.uniform(0.5, 0.75), s.rng.uniform(0.3, 0.55)
    height = s.rng.uniform(0.8, 1.3)
    return _local(s, _box((s.rng.uniform(0.35, 0.55), height, 0.08), np.array([x, height / 2, z])))


def _mirror(s: Setting) -> trimesh.Trimesh:
    x = s.rng.choice([-1, 1]) * s.rng.uniform(0.45, 0.75)
    return _local(
        s, _rod(np.array([x, 0, 0.3]), np.array([x, 1.1, 0.3]), 0.03), _box((0.45, 0.6, 0.04), np.array([x, 1.35, 0.3]))
    )


def _carried_box(s: Setting) -> trimesh.Trimesh:
    size = s.rng.uniform(0.25, 0.42, 3)
    mesh = creation.box(size)
    mesh.apply_transform(s.frame)
    mesh.apply_translation(s.mid(HANDS) + 0.1 * s.front - [s.frame[0, 3], 0, s.frame[2, 3]])
    return mesh


def _crate(s: Setting) -> trimesh.Trimesh:
    centre = s.mid(HANDS) + 0.12 * s.front
    height = max(0.2, min(centre[1], 0.6))
    mesh = creation.box((s.rng.uniform(0.4, 0.7), height, s.rng.uniform(0.3, 0.45)))
    mesh.apply_transform(s.frame)
    mesh.apply_translation([centre[0] - s.frame[0, 3], height / 2, centre[2] - s.frame[2, 3]])
    return mesh


def _ball(s: Setting) -> trimesh.Trimesh:
    radius = s.rng.uniform(0.1, 0.17)
    joint = s.joints[s.rng.choice([*FEET, *HANDS])]
    ball = creation.icosphere(2, radius)
    centre = joint + (radius + 0.12) * s.front + s.rng.normal(0, 0.06, 3)
    ball.apply_translation([centre[0], max(centre[1], radius), centre[2]])
    return ball


def _surfboard(s: Setting) -> trimesh.Trimesh:
    board = creation.icosphere(3, 1.0)
    board.apply_scale([0.28, 0.05, 1.0])
    board.apply_transform(s.frame @ trimesh.transformations.rotation_matrix(s.rng.normal(0, 0.5), [0, 1, 0]))
    board.apply_translation([0, s.vertices[:, 1].min() - 0.03, 0])
    return board


def _skis(s: Setting) -> trimesh.Trimesh:
    parts = []
    for foot, hand in zip(FEET, HANDS, strict=True):
        toe, grip = s.joints[foot], s.joints[hand]
        start, end = toe - 0.75 * s.front, toe + 0.75 * s.front
        start[1] = end[1] = 0.02
        parts.append(_rod(start, end, 0.03))
        parts.append(_rod(grip + [0, 0.08, 0], np.array([grip[0], 0, grip[2]]) - 0.35 * s.front, 0.014))
    return _join(parts)


def _high_bar(s: Setting) -> trimesh.Trimesh:
    height = max(0.3, s.vertices[:, 1].min() - 0.08)
    z = 0.0
    posts = [_rod(np.array([x, 0, z]), np.array([x, height + 0.15, z]), 0.035) for x in (-1.3, 1.3)]
    return _local(s, _rod(np.array([-1.3, height, z]), np.array([1.3, height, z]), 0.022), *posts)


def _gym_horse(s: Setting) -> trimesh.Trimesh:
    hands = s.mid(HANDS)
    top = max(0.4, hands[1] - 0.04)
    local = np.linalg.inv(s.frame) @ [*hands, 1]
    body = _box((0.45, 0.28, 1.0), np.array([local[0], top - 0.14, local[2]]))
    legs = [_rod(np.array([local[0] + x, 0, local[2] + z]), np.array([local[0] + x, top - 0.2, local[2] + z]), 0.04)
            for x in (-0.15, 0.15) for z in (-0.35, 0.35)]  # fmt: skip
    return _local(s, body, *legs)


def _vault_pole(s: Setting) -> trimesh.Trimesh:
    hands = s.mid(HANDS)
    foot = np.array([hands[0], 0, hands[2]]) + s.rng.uniform(0.6, 1.6) * s.front
    return _rod(foot, hands + 0.25 * (hands - foot) / np.linalg.norm(hands - foot), 0.026)


def _springboard(s: Setting) -> trimesh.Trimesh:
    height = s.rng.uniform(0.6, 1.2)
    z = -s.rng.uniform(1.0, 1.4)
    return _local(
        s,
        _box((0.5, 0.06, 1.6), np.array([0, height, z])),
        _box((0.3, height, 0.3), np.array([0, height / 2, z - 0.6])),
    )


def _uneven_bars(s: Setting) -> trimesh.Trimesh:
    hands = np.linalg.inv(s.frame) @ [*s.mid(HANDS), 1]
    parts = []
    for height, z in ((hands[1], hands[2]), (max(0.6, hands[1] - 0.85), hands[2] + s.rng.choice([-1, 1]) * 0.9)):
        parts.append(_rod(np.array([-1.1, height, z]), np.array([1.1, height, z]), 0.024))
        parts += [_rod(np.array([x, 0, z]), np.array([x, height, z]), 0.032) for x in (-1.1, 1.1)]
    return _local(s, *parts)


def _beam(s: Setting) -> trimesh.Trimesh:
    top = s.vertices[:, 1].min()
    beam = _box((0.12, 0.14, 3.0), np.array([0, top - 0.07, 0]))
    legs = [_box((0.3, top - 0.12, 0.08), np.array([0, (top - 0.12) / 2, z])) for z in (-1.2, 1.2)]
    return _local(s, beam, *legs)


PROPS: dict[str, tuple[Callable[[Setting], trimesh.Trimesh], np.ndarray]] = {
    "bicycle": (_bicycle, BRIGHT),
    "horse": (_horse, WOOD),
    "seat": (_seat, BRIGHT),
    "barbell": (_barbell, METAL),
    "rod": (lambda s: _through_hands(s, 0.3, 1.5, 0.016, s.front + np.array([0, 0.9, 0])), WOOD),
    "rake": (lambda s: _through_hands(s, 0.5, 0.9, 0.02, 0.8 * s.front - np.array([0, 0.9, 0])), WOOD),
    "guitar": (_guitar, WOOD),
    "panel": (_panel, WOOD),
    "mirror": (_mirror, METAL),
    "carried_box": (_carried_box, WOOD),
    "crate": (_crate, BRIGHT),
    "ball": (_ball, BRIGHT),
    "surfboard": (_surfboard, BRIGHT),
    "skis": (_skis, BRIGHT),
    "high_bar": (_high_bar, BRIGHT),
    "gym_horse": (_gym_horse, WOOD),
    "vault_pole": (_vault_pole, METAL),
    "springboard": (_springboard, BRIGHT),
    "uneven_bars": (_uneven_bars, WOOD),
    "beam": (_beam, WOOD),
    "mat": (lambda s: _local(s, _box((0.7, 0.025, 1.9), np.array([0, 0.0125, 0]))), BRIGHT),
}


def build_prop(name: str, setting: Setting) -> Prop:
    """The prop of this name (a key of PROPS), placed against the body."""
    make, colours = PROPS[name]
    mesh = make(setting)
    return Prop(name, np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces), _pick(colours, setting.rng))


def occluder(setting: Setting, towards_camera: np.ndarray) -> Prop:
    """An object of no relation to the action, between the camera and a part of the body. towards_camera (3,): unit
    vector, horizontal."""
    rng = setting.rng
    across = np.cross([0, 1, 0], towards_camera)
    foot = setting.joints[PELVIS] + rng.uniform(0.45, 0.8) * towards_camera + rng.normal(0, 0.35) * across
    foot[1] = 0
    kind = rng.choice(["box", "pole", "ball", "board"])
    if kind == "box":
        size = rng.uniform([0.3, 0.3, 0.3], [0.7, 0.8, 0.5])
        mesh = _box(tuple(size), foot + [0, size[1] / 2, 0])
    elif kind == "pole":
        mesh = _rod(foot, foot + [0, rng.uniform(1.0, 2.2), 0], rng.uniform(0.03, 0.08))
    elif kind == "ball":
        mesh = creation.icosphere(2, rng.uniform(0.18, 0.35))
        mesh.apply_translation(foot + [0, -mesh.vertices[:, 1].min(), 0])
    else:
        height = rng.uniform(0.4, 1.0)
        mesh = _rod(foot - 0.7 * across + [0, height, 0], foot + 0.7 * across + [0, height, 0], rng.uniform(0.04, 0.1))
    return Prop(str(kind), np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces), _pick(BRIGHT, rng))

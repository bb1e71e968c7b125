"""What a world looks like and from where it is seen: the settings of `scene.World`.

The defaults are those of the world that the starter pack was trained on. `domains.py` has other ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from factory.starter.world.backgrounds import BACKGROUNDS, Background
from factory.starter.world.wardrobe import Outfit

Range = tuple[float, float]  # lowest and highest value of a uniform draw


@dataclass(frozen=True)
class Viewpoint:
    """From where people are seen. Lengths in px are those of an image of 128 px; larger images scale them."""

    size: int = 128  # side of the image, px
    supersampling: int = 2  # an image is drawn so many times as large, and shrunk
    elevation: Range = (-2, 22)  # of the camera over the people, degrees
    roll: float = 2  # standard deviation, degrees
    focal: Range = (300, 560)  # px
    fill: Range = (0.76, 0.98)  # share of the image's side that the people take
    shift: float = 2.5  # standard deviation of the principal point, px
    lowest: float = 0.15  # height of the camera over the ground at least, m
    facing: tuple[float, float] = (0.6, 45)  # share of people who face the camera, and by how many degrees, about


@dataclass(frozen=True)
class Light:
    """How surfaces are lit: by light from everywhere, by some more from above, and by the sun."""

    everywhere: float = 0.5
    above: float = 0.1
    sun: float = 0.5
    shadow: float = 0.62  # brightness of the ground in a shadow
    sideways: float = 0.7  # standard deviation of the sun's direction
    height: Range = (0.7, 1.6)
    behind: float = 0.8  # share of the direction that comes from the camera; negative: the sun faces it
    colour: tuple[float, float, float] = (1, 1, 1)  # what red, green and blue are multiplied by
    noise: float = 0  # standard deviation of the sensor's noise, share of white


@dataclass(frozen=True)
class Look:
    """All of it. subjects: those that a prompt may have (keys of scene.SUBJECTS); none: all who are alone."""

    backgrounds: dict[str, Background] = field(default_factory=lambda: BACKGROUNDS)
    view: Viewpoint = Viewpoint()
    light: Light = Light()
    outfit: Outfit = field(default_factory=Outfit)
    subjects: tuple[str, ...] = ()
    alone: float = 0.8  # share of the scenes with one person
    hidden: float = 0.25  # share of the scenes with an object before the people

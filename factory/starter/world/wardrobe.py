"""Skin, hair and clothes as one colour for each vertex, chosen by the regions of the body and by rest positions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SKIN = np.array([[0.95, 0.8, 0.7], [0.9, 0.72, 0.58], [0.78, 0.57, 0.42], [0.6, 0.42, 0.3], [0.42, 0.28, 0.2]])
HAIR = np.array([[0.1, 0.08, 0.07], [0.28, 0.17, 0.1], [0.5, 0.32, 0.16], [0.85, 0.7, 0.4], [0.55, 0.22, 0.1]])
GREY = np.array([0.8, 0.8, 0.8])
CLOTH = np.array(
    [
        [0.8, 0.15, 0.15],
        [0.15, 0.3, 0.7],
        [0.95, 0.95, 0.95],
        [0.12, 0.12, 0.15],
        [0.2, 0.55, 0.3],
        [0.95, 0.75, 0.2],
        [0.9, 0.45, 0.15],
        [0.5, 0.25, 0.55],
        [0.3, 0.65, 0.8],
        [0.9, 0.55, 0.65],
        [0.45, 0.45, 0.48],
    ]
)


@dataclass(frozen=True)
class Outfit:
    """How people are dressed. cloth (C, 3): the colours of clothes. Sleeves are none, short or long, trousers bare,
    short or long; the numbers are their probabilities."""

    cloth: np.ndarray = field(default_factory=lambda: CLOTH)
    whole: float = 0.2  # probability of a dress or an overall
    sleeves: tuple[float, float, float] = (0.25, 0.45, 0.3)
    trousers: tuple[float, float, float] = (0.15, 0.35, 0.5)
    helmet: bool = False


class Wardrobe:
    """Draws the colours of one body's vertices."""

    def __init__(self, labels: np.ndarray, names: list[str], rest: np.ndarray, outfit: Outfit) -> None:
        """labels (V,) index of each vertex's region, names of the R regions, rest (V, 3) m: the body in its T-pose."""
        self.outfit = outfit
        self.region = {name: labels == i for i, name in enumerate(names)}
        self.rest = rest
        self.out = np.abs(rest[:, 0])  # m from the midline: along the arm in the T-pose
        leg = self.region["upper_leg"]
        self.mid_thigh = (rest[leg, 1].min() + rest[leg, 1].max()) / 2
        arm = self.region["upper_arm"]
        self.mid_arm = (self.out[arm].min() + self.out[arm].max()) / 2

    def dress(self, rng: np.random.Generator, long_hair: bool, old: bool) -> np.ndarray:
        """(V, 3) float32 RGB in [0, 1]. long_hair: hair down to the shoulders; old: grey hair."""
        colours = np.empty_like(self.rest, dtype=np.float32)
        colours[:] = self._shade(SKIN, rng)
        shirt, trousers, shoes = (self._shade(self.outfit.cloth, rng) for _ in range(3))
        if rng.random() < self.outfit.whole:
            trousers = shirt
        region = self.region
        colours[region["torso"]] = shirt
        colours[region["hips"]] = trousers
        sleeve = rng.choice(["none", "short", "long"], p=self.outfit.sleeves)
        if sleeve != "none":
            colours[region["upper_arm"] & ((self.out < self.mid_arm) | (sleeve == "long"))] = shirt
        if sleeve == "long":
            colours[region["forearm"]] = shirt
        leg = rng.choice(["bare", "short", "long"], p=self.outfit.trousers)
        if leg != "bare":
            colours[region["upper_leg"] & ((self.rest[:, 1] > self.mid_thigh) | (leg == "long"))] = trousers
        if leg == "long":
            colours[region["lower_leg"]] = trousers
        if rng.random() < 0.85:
            colours[region["foot"]] = shoes
        if self.outfit.helmet:
            colours[region["scalp"]] = self._shade(self.outfit.cloth, rng)
            return colours
        hair = np.clip(GREY + rng.normal(0, 0.05), 0, 1) if old else self._shade(HAIR, rng)
        crown = region["scalp"]
        if long_hair:
            low = self.rest[region["scalp"], 1].min()
            back = self.rest[:, 2] < 0.045
            crown = crown | (
                back
                & (self.rest[:, 1] > low - 0.2)
                & (region["face"] | region["neck"] | region["torso"])
                & (self.out < 0.11)
            )
        colours[crown] = hair
        return colours

    @staticmethod
    def _shade(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One of the colours (C, 3), slightly changed."""
        return np.clip(colours[rng.integers(len(colours))] + rng.normal(0, 0.04, 3), 0.03, 0.98)

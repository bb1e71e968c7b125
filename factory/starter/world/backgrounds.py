"""Backgrounds of scenes: a patterned floor, and behind it a wall or hills under a sky. Drawn by casting rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
WALL_DISTANCE = (2.5, 5.0)  # metres behind the people
HORIZON = 60.0  # metres to the hills


@dataclass(frozen=True)
class Background:
    """The colours of a background, RGB in [0, 1], and what they are put on."""

    floor: Colour
    floor2: Colour  # the second colour of the floor's pattern
    pattern: str  # of the floor: plain, checker, lanes, waves, blotches or rings
    back: Colour  # of the wall, or of the hills
    back2: Colour  # of a stripe on the wall, or of the sky at the horizon
    sky: Colour = (0.45, 0.65, 0.9)  # overhead
    wall: bool = False  # a wall behind the people; otherwise hills under a sky
    crowd: float = 0  # how strongly spectators stand out from the wall or the hills, 0 to 1


BACKGROUNDS = {
    "park": Background((0.36, 0.58, 0.25), (0.32, 0.53, 0.22), "checker", (0.22, 0.42, 0.2), (0.85, 0.92, 0.97)),
    "garden": Background(
        (0.42, 0.62, 0.28), (0.5, 0.4, 0.25), "lanes", (0.2, 0.45, 0.18), (0.3, 0.55, 0.25), wall=True
    ),
    "field": Background((0.3, 0.56, 0.22), (0.38, 0.64, 0.28), "lanes", (0.4, 0.5, 0.3), (0.8, 0.9, 0.97)),
    "street": Background(
        (0.5, 0.5, 0.52), (0.58, 0.58, 0.58), "checker", (0.72, 0.62, 0.5), (0.5, 0.42, 0.36), wall=True
    ),
    "track": Background((0.72, 0.36, 0.26), (0.82, 0.58, 0.5), "lanes", (0.35, 0.5, 0.3), (0.85, 0.92, 0.97)),
    "stadium": Background(
        (0.62, 0.34, 0.28), (0.66, 0.38, 0.3), "plain", (0.35, 0.4, 0.55), (0.8, 0.85, 0.9), wall=True
    ),
    "gym": Background((0.72, 0.55, 0.36), (0.66, 0.49, 0.3), "lanes", (0.85, 0.84, 0.78), (0.35, 0.5, 0.65), wall=True),
    "hall": Background((0.25, 0.4, 0.7), (0.22, 0.36, 0.64), "checker", (0.86, 0.88, 0.9), (0.7, 0.74, 0.8), wall=True),
    "stage": Background(
        (0.36, 0.22, 0.16), (0.42, 0.27, 0.2), "lanes", (0.32, 0.1, 0.16), (0.22, 0.07, 0.12), wall=True
    ),
    "room": Background((0.6, 0.45, 0.32), (0.55, 0.4, 0.28), "lanes", (0.9, 0.85, 0.74), (0.96, 0.95, 0.92), wall=True),
    "studio": Background(
        (0.78, 0.66, 0.5), (0.74, 0.61, 0.45), "lanes", (0.8, 0.68, 0.66), (0.88, 0.78, 0.76), wall=True
    ),
    "lake": Background((0.55, 0.6, 0.38), (0.5, 0.55, 0.33), "plain", (0.25, 0.45, 0.6), (0.9, 0.85, 0.75)),
    "water": Background((0.15, 0.45, 0.65), (0.25, 0.55, 0.72), "waves", (0.3, 0.45, 0.55), (0.9, 0.95, 1.0)),
    "pool": Background((0.2, 0.6, 0.75), (0.3, 0.68, 0.82), "waves", (0.82, 0.9, 0.92), (0.5, 0.72, 0.8), wall=True),
    "snow": Background((0.92, 0.94, 0.97), (0.88, 0.9, 0.95), "waves", (0.62, 0.7, 0.8), (0.8, 0.88, 0.96)),
}


def paint(
    background: Background, rays: np.ndarray, eye: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """rays (H, W, 3) world directions from eye (3,) m -> colours (H, W, 3) float32 in [0, 1], and (H, W) bool: the
    pixels that show the floor."""
    tint = rng.normal(0, 0.035, 3).astype(np.float32)
    forward = rays[rays.shape[0] // 2, rays.shape[1] // 2] * [1, 0, 1]
    forward /= np.linalg.norm(forward)
    across = np.cross([0, 1, 0], forward)
    reach = -(eye @ forward) + rng.uniform(*WALL_DISTANCE) if background.wall else HORIZON
    with np.errstate(divide="ignore", invalid="ignore"):
        to_floor = np.where(rays[..., 1] < -1e-4, -eye[1] / rays[..., 1], np.inf)
    to_wall = reach / np.maximum(rays @ forward, 1e-3)
    floor = to_floor < to_wall
    hit = eye + rays * np.where(floor, to_floor, 0)[..., None]
    turn = rng.uniform(0, np.pi)
    u, v = (
        hit[..., 0] * np.cos(turn) + hit[..., 2] * np.sin(turn),
        hit[..., 2] * np.cos(turn) - hit[..., 0] * np.sin(turn),
    )
    mix = {
        "plain": lambda: np.zeros_like(u),
        "checker": lambda: (np.floor(u / 0.8) + np.floor(v / 0.8)) % 2,
        "lanes": lambda: ((u / 0.9) % 1 < 0.2).astype(float),
        "waves": lambda: 0.5 + 0.5 * np.sin(4 * v + 1.5 * np.sin(2 * u)),
        "blotches": lambda: (np.sin(3.1 * u + np.sin(2.3 * v)) + np.sin(2.7 * v + np.sin(1.9 * u)) > 0.3).astype(float),
        "rings": lambda: (np.hypot(u, v) % 0.7 < 0.2).astype(float),
    }[background.pattern]()
    colour = _mix(background.floor, background.floor2, mix * floor)
    points = eye + rays * to_wall[..., None]
    along, height = points @ across, points[..., 1]
    if background.wall:
        kind = rng.integers(3)
        top = rng.uniform(0.7, 1.3)
        pattern = [(height < top), ((along + 50) % 1.4 < 0.25), (height > 1.9) & (height < 2.3)][kind]
        behind = _mix(background.back, background.back2, pattern.astype(float))
    else:
        phases = rng.uniform(0, 6.28, 3)
        hills = 4.5 + sum(
            a * np.sin(along / w + p) for a, w, p in zip((1.6, 0.9, 0.5), (11, 5, 2.3), phases, strict=True)
        )
        climb = np.clip(rays[..., 1] / np.linalg.norm(rays[..., ::2], axis=-1) * 2.5, 0, 1)
        behind = np.where(
            (height < hills)[..., None], np.array(background.back), _mix(background.back2, background.sky, climb)
        )
    if background.crowd:
        spectators = rng.random((97, 89, 3), np.float32)
        row, seat = np.floor(height / 0.22), np.floor(along / 0.16)
        shirts = spectators[row.astype(int) % 97, (seat + 7 * row).astype(int) % 89]
        behind = behind + background.crowd * np.where((height > 0.9)[..., None], shirts - 0.5, 0)
    colour = np.where(floor[..., None], colour, behind) + tint
    return np.clip(colour, 0, 1).astype(np.float32), floor


def _mix(a: Colour, b: Colour, share: np.ndarray) -> np.ndarray:
    """(H, W) shares of `b` -> (H, W, 3) float32 colours between `a` and `b`."""
    low, high = np.array(a, np.float32), np.array(b, np.float32)
    return low + (high - low) * share[..., None].astype(np.float32)

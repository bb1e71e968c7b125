"""The world's contact sheet: scenes of every action under their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from factory.errors import UserError
from factory.starter.world.actions import ACTIONS
from factory.starter.world.scene import World

COLUMNS, SIDE, GAP, LINE = 5, 192, 8, 18  # px
TYPES = (".jpg", ".png")


def draw(path: Path, seed: int = 0, each: int = 1) -> None:
    """`each` scenes of every action, of seeds seed, seed + 1, ..., written to `path`. UserError: not a .jpg or .png."""
    if path.suffix not in TYPES:
        raise UserError(f"{path}: a sheet is a {' or '.join(TYPES)} file")
    world = World()
    names = [name for name in ACTIONS for _ in range(each)]
    tiles = [(name, world.sample(seed + i, name).image) for i, name in enumerate(names)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet(tiles)).save(path, quality=88, optimize=True)  # PNG knows no quality and passes over it


def sheet(tiles: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """(name, image) pairs -> one (H, W, 3) uint8 picture, COLUMNS wide."""
    lines = -(-len(tiles) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, lines * (SIDE + LINE + GAP) + GAP), (24, 24, 28))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for i, (name, image) in enumerate(tiles):
        x, y = GAP + i % COLUMNS * (SIDE + GAP), GAP + i // COLUMNS * (SIDE + LINE + GAP)
        picture.paste(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y))
        pen.text((x + 2, y + SIDE + 2), name, (225, 225, 228), font)
    return np.asarray(picture)

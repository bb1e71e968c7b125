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
    """`each` scenes of every action, from seed on, written to `path`. UserError: not a .jpg or .png."""
    if path.suffix not in TYPES:
        raise UserError(f"{path}: a sheet is a {' or '.join(TYPES)} file")
    world = World()
    tiles = [(name, world.sample(seed + i, name).image) for name in ACTIONS for i in range(each)]
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 88, "optimize": True} if path.suffix == ".jpg" else {}
    Image.fromarray(sheet(tiles)).save(path, **options)


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

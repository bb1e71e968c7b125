"""The contact sheet of the world: scenes of every action, with the action's name under each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from factory.errors import UserError
from factory.starter.world.actions import ACTIONS
from factory.starter.world.scene import World

COLUMNS = 5
SIDE, GAP, LINE = 192, 8, 18  # px
TYPES = (".jpg", ".png")


def draw_sheet(path: Path, seed: int = 0, each: int = 1) -> None:
    """Write `each` scenes of every action to `path`, of the seeds seed, seed + 1, ... UserError: no .jpg or .png."""
    if path.suffix not in TYPES:
        raise UserError(f"{path}: a sheet is a {' or '.join(TYPES)} file")
    world = World()
    names = [name for name in ACTIONS for _ in range(each)]
    tiles = [(name, world.sample(seed + i, name).image) for i, name in enumerate(names)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_arrange(tiles)).save(path, quality=75, optimize=True, progressive=True)  # ignored by PNG: quality


def _arrange(tiles: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """(name, image) pairs -> one (H, W, 3) uint8 picture, with COLUMNS pairs a row."""
    lines = -(-len(tiles) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, lines * (SIDE + LINE + GAP) + GAP), (24, 24, 28))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for i, (name, image) in enumerate(tiles):
        x, y = GAP + i % COLUMNS * (SIDE + GAP), GAP + i // COLUMNS * (SIDE + LINE + GAP)
        picture.paste(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y))
        pen.text((x + 2, y + SIDE + 2), name, (225, 225, 228), font)
    return np.asarray(picture)

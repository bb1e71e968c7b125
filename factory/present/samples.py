"""The pictures of samples, as report and card show them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from factory.present import pictures

if TYPE_CHECKING:
    from factory.models.body import BodyModel

COLUMNS = ("initial", "masks", "depth", "final", "mesh")
Paint = Callable[[dict[str, bytes]], dict[str, np.ndarray | None]]


def painter(body: BodyModel | None, columns: Sequence[str] = COLUMNS, side: int = 320) -> Paint:
    """Files of a sample -> its pictures by column, (H, W, 3) uint8, None where it was not stored. side: of the mesh's
    picture, about, px; without a body model there is none."""

    def paint(files: dict[str, bytes]) -> dict[str, np.ndarray | None]:
        out: dict[str, np.ndarray | None] = dict.fromkeys(columns)
        final = _image(files["jpg"])
        initial = _image(files["initial.jpg"]) if "initial.jpg" in files else None
        for name, image in (("initial", initial), ("final", final)):
            if name in columns:
                out[name] = image
        if "masks" in columns and "person.png" in files:
            behind = final if initial is None else initial
            out["masks"] = pictures.masks(behind, *(_mask(files[name]) for name in ("person.png", "object.png")))
        if "depth" in columns and "depth.npy" in files:
            out["depth"] = pictures.depth(np.load(io.BytesIO(files["depth.npy"]), allow_pickle=False))
        if "mesh" in columns and body is not None:
            with np.load(io.BytesIO(files["smpl.npz"]), allow_pickle=False) as people:
                out["mesh"] = pictures.overlay(final, dict(people), body, side)
        return out

    return paint


def spread(rows: list[dict], limit: int) -> list[dict]:
    """At most `limit` of the rows, evenly spread."""
    if len(rows) <= limit:
        return rows
    return [rows[i * len(rows) // limit] for i in range(limit)]


def _image(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _mask(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 127

"""The formats by name; each is imported when it is asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from factory.errors import UserError
from factory.export.base import Format

FORMATS = {"spin": "Spin", "hmr2": "Hmr2", "bedlam": "Bedlam", "camerahmr": "CameraHmr", "humandata": "HumanData"}


def find(name: str) -> type[Format]:
    """UserError where there is none of the name."""
    if name not in FORMATS:
        near = get_close_matches(name.lower(), FORMATS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FORMATS)}"
        raise UserError(f"--format {name}: no such format; {hint}")
    return getattr(import_module(f"factory.export.{name}"), FORMATS[name])

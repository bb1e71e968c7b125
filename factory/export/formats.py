"""The export formats by name. A format's module is imported only when it is used."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

from factory.errors import UserError

if TYPE_CHECKING:
    from factory.export.base import Format

FORMATS = {"spin": "Spin", "hmr2": "Hmr2", "bedlam": "Bedlam", "camerahmr": "CameraHmr", "humandata": "HumanData"}


def find(name: str) -> type[Format]:
    """The class of the format of that name. UserError when there is none."""
    if name not in FORMATS:
        near = get_close_matches(name.lower(), FORMATS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FORMATS)}"
        raise UserError(f"--format {name}: no such format; {hint}")
    form: type[Format] = getattr(import_module(f"factory.export.{name}"), FORMATS[name])
    return form

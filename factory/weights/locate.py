"""What a model's name in a job means: a path, a hub id, or `starter:PART` for a part of the embedded starter pack."""

from __future__ import annotations

import re
from pathlib import Path

from factory.errors import UserError
from factory.home import at_home

PREFIX = "starter:"
WEIGHTS = Path(__file__).parents[1] / "starter" / "weights"  # the starter pack
PARTS = {  # name of a part -> its path in the pack
    "body": "body/open_body.npz",
    "text-to-image": "text-to-image",
    "depth-to-image": "depth-to-image",
    "adapter": "adapter",
    "hmr": "hmr",
    "base": "base",
    "vposer": "vposer",
    "detector": "detector",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(name: str | Path) -> str:
    """The absolute path of the part that `starter:PART` names; any other name (a path, a hub id) as it is. UserError
    for an unknown part."""
    name = str(name)
    if not name.startswith(PREFIX):
        return name
    part = name.removeprefix(PREFIX)
    if part not in PARTS:
        raise UserError(f"unknown starter part {name!r}; there are: {', '.join(PREFIX + p for p in PARTS)}")
    return str(WEIGHTS / PARTS[part])


def locate(name: str | Path) -> Path | None:
    """The file or folder that a model's name means on this disk; None when it is a hub id. UserError when it is
    neither, or when this user may not look there."""
    try:
        path = at_home(resolve(name))
        if path.exists():
            return path
    except OSError as error:
        raise UserError(f"model {unreadable(error, str(name))}") from error
    if _HUB_ID.fullmatch(str(name)):
        return None
    raise UserError(f"model not found: {name}; give an existing path, a hub id (owner/name) or starter:PART")


def unreadable(error: OSError, name: str) -> str:
    """The message for a model that this user may not read: why, and what to do."""
    label = error.filename if isinstance(error.filename, str) else name
    return f"{name} cannot be read ({error.strerror or error}: {label}); let this user read it, or give another"

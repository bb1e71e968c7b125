"""What a model's name in a job means: a path, a hub id, or `starter:PART` of the embedded starter pack."""

from __future__ import annotations

import re
from pathlib import Path

from factory.errors import UserError
from factory.home import at_home

PREFIX = "starter:"
WEIGHTS = Path(__file__).parents[1] / "starter" / "weights"
PARTS = {
    "body": "body/open_body.npz",
    "text-to-image": "text-to-image",
    "depth-to-image": "depth-to-image",
    "adapter": "adapter",
    "hmr": "hmr",
    "vposer": "vposer",
    "detector": "detector",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(name: str | Path) -> str:
    """`starter:PART` -> that part's absolute path; anything else (a path, a hub id) as it is."""
    name = str(name)
    if not name.startswith(PREFIX):
        return name
    part = name.removeprefix(PREFIX)
    if part not in PARTS:
        raise UserError(f"unknown starter part {name!r}; there are: {', '.join(PREFIX + p for p in PARTS)}")
    return str(WEIGHTS / PARTS[part])


def locate(name: str | Path) -> Path | None:
    """The file or folder that a model name means on this disk; None when it is a hub id. UserError: neither, or not to
    be looked at by this user."""
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
    """Why a model cannot be read, and what to do."""
    where = error.filename if isinstance(error.filename, str) else name
    return f"{name} cannot be read ({error.strerror or error}: {where}); let this user read it, or give another"

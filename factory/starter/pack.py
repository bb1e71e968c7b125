"""Names of the embedded starter pack: `starter:hmr` in a job means the folder that ships with this package."""

from __future__ import annotations

import re
from pathlib import Path

from factory.errors import UserError

WEIGHTS = Path(__file__).parent / "weights"
PARTS = {
    "body": "body/open_body.npz",
    "text-to-image": "text-to-image",
    "depth-to-image": "depth-to-image",
    "hmr": "hmr",
    "vposer": "vposer",
    "detector": "detector",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(name: str) -> str:
    """`starter:PART` -> the part's absolute path; any other name comes back as it is. UserError: no such part."""
    if not name.startswith("starter:"):
        return name
    part = name.removeprefix("starter:")
    if part not in PARTS:
        raise UserError(f"unknown starter part {name!r}; there are {', '.join(f'starter:{p}' for p in PARTS)}")
    path = WEIGHTS / PARTS[part]
    if not path.exists():
        raise UserError(f"{name} is not installed: {path} is missing; reinstall the package with its weights")
    return str(path)


def locate(name: str) -> Path | None:
    """The file or folder that a model name means on this disk; None when it is a hub id. UserError: neither."""
    path = Path(resolve(name)).expanduser()
    if path.exists():
        return path
    if _HUB_ID.fullmatch(name):
        return None
    raise UserError(f"model not found: {name}; give an existing path, a hub id (owner/name) or starter:PART")

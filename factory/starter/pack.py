"""Where the embedded starter pack keeps its parts."""

from __future__ import annotations

from pathlib import Path

from factory.errors import UserError

PREFIX = "starter:"
WEIGHTS = Path(__file__).parent / "weights"
PARTS = {
    "body": "body/open_body.npz",
    "text-to-image": "text-to-image",
    "depth-to-image": "depth-to-image",
    "hmr": "hmr",
    "vposer": "vposer",
    "detector": "detector",
}


def resolve(name: str) -> str:
    """`starter:PART` -> that part's absolute path; anything else (a folder, a hub id) as it is."""
    if not name.startswith(PREFIX):
        return name
    part = name.removeprefix(PREFIX)
    if part not in PARTS:
        raise UserError(f"unknown starter part {name!r}; there are: {', '.join(PREFIX + p for p in PARTS)}")
    return str(WEIGHTS / PARTS[part])

"""Paths as a job writes them, with ~ for a home."""

from __future__ import annotations

import os
from pathlib import Path


def at_home(path: str | Path) -> Path:
    """The path with ~ or ~user replaced by that home. Where no home is known it stays as it is: such a path leads
    nowhere and is told as missing, while Path.expanduser raises."""
    return Path(os.path.expanduser(path))

"""Paths as jobs write them, where ~ stands for a home folder."""

from __future__ import annotations

import os
from pathlib import Path


def at_home(path: str | Path) -> Path:
    """The path with ~ or ~user replaced by that home folder. Without a known home the path stays as it is, and is then
    reported as missing; Path.expanduser would raise instead."""
    return Path(os.path.expanduser(path))

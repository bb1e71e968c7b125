"""Images of anybody's folder or tar: whether a trainer can decode them, and how large they are."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from PIL import Image


def size_of(image: Path | IO[bytes]) -> tuple[int, int]:
    """(width, height) in px of an image that is decoded to its end. ValueError where it cannot be."""
    try:
        with Image.open(image) as opened:
            opened.load()
            return opened.size
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(" ".join(str(error).split())) from None

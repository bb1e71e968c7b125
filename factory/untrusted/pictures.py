"""Image files of untrusted origin. Only a few formats are decoded: Pillow's decoder of EPS, for one, runs
Ghostscript."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from factory.untrusted import Unreadable

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # none of their decoders runs another program


def pixels(data: bytes, form: str, mode: str, size: tuple[int, int]) -> np.ndarray:
    """The image in a file of Pillow's format `form` (JPEG, PNG), of `size` = (width, height) px, converted to `mode`:
    RGB gives (H, W, 3) uint8, L gives (H, W) uint8. Unreadable: the file is damaged, or its header says another
    size."""
    try:
        with Image.open(io.BytesIO(data), formats=[form]) as image:
            if image.size != size:
                raise Unreadable(f"{image.size} px, not {size}")
            return np.asarray(image.convert(mode))
    except Unreadable:
        raise
    except Exception as error:  # decoders raise whatever they like
        raise Unreadable(error) from None


def picture_size(image: Path | IO[bytes]) -> tuple[int, int]:
    """(width, height) in px of an image file, which is decoded to its end. Unreadable: the file is damaged, of no
    format of FORMATS, or larger than Pillow's own limit."""
    try:
        with Image.open(image, formats=PICTURE_FORMATS) as opened:
            opened.load()
            return opened.size
    except Exception as error:  # decoders raise whatever they like
        raise Unreadable(error) from None

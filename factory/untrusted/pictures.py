"""Image files of strangers whose size is known: another size is refused by the header, before a pixel is unpacked."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from factory.untrusted import Unreadable


def pixels(data: bytes, form: str, mode: str, size: tuple[int, int]) -> np.ndarray:
    """The image in a file of Pillow's format `form` (JPEG, PNG), of `size` = (width, height) px, as `mode`: RGB is
    (H, W, 3) uint8, L (H, W) uint8. Unreadable: damaged, or another size."""
    try:
        with Image.open(io.BytesIO(data), formats=[form]) as image:
            if image.size != size:
                raise Unreadable(f"{image.size} px, not {size}")
            return np.asarray(image.convert(mode))
    except Unreadable:
        raise
    except Exception as error:  # decoders raise whatever they like
        raise Unreadable(error) from None

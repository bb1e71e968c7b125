"""Converts images of all Pillow modes to 8-bit RGB: wide ranges are scaled down, transparent pixels become white."""

from __future__ import annotations

import numpy as np
from PIL import Image

WIDE = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}  # grey of more than 8 bits
ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
STRAIGHT = {"La": "LA", "RGBa": "RGBA"}  # mode with colours multiplied by alpha -> mode with plain colours
PHOTOMETRIC, BITS = 262, 258  # TIFF's tags
ROWS = 64  # rows that are scaled at a time
WHITE = (255, 255, 255, 255)


def rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB. It must be loaded.

    Grey values of 16 bits are scaled by their full range, those of a 12-bit TIFF by 12 bits. The range of 32-bit
    integers and of floats is not stored: it is taken to be 0 to 255 and 0 to 1, and is widened to the values when they
    go beyond. NaN becomes black, infinity white. Ordinary 8-bit images are converted by Pillow as usual.
    """
    if image.mode in WIDE:
        return _grey(image)
    image = image.convert(STRAIGHT[image.mode]) if image.mode in STRAIGHT else image
    if image.mode in ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        low, high = 0.0, 4095.0 if tags.get(BITS) == (12,) else 65535.0
    else:
        finite = np.isfinite(values)
        low = float(values.min(initial=0, where=finite))
        high = float(values.max(initial=1 if image.mode == "F" else 255, where=finite))
    clear = image.info.get("transparency")
    grey = np.empty(values.shape, np.uint8)
    for row in range(0, len(values), ROWS):  # the whole image in float64 would take eight times the memory
        block = values[row : row + ROWS]
        share = np.nan_to_num((block.astype(np.float64) - low) / (high - low), nan=0, posinf=1, neginf=0).clip(0, 1)
        if tags.get(PHOTOMETRIC) == 0:  # 0 is white there; Pillow inverts only images of up to 8 bits
            share = 1 - share
        if isinstance(clear, int):
            share[block == clear] = 1
        grey[row : row + ROWS] = np.round(share * 255)
    return Image.fromarray(grey).convert("RGB")

"""From a stranger's image file to square RGB pixels, or to the reason why not."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from factory.record import Reason

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # no format whose decoder runs another program


class Refused(Exception):
    """The image is not used; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def square(
    data: bytes, size: int, window: np.ndarray | None, min_side: int, max_pixels: int
) -> tuple[np.ndarray, np.ndarray]:
    """An image file -> ((size, size, 3) uint8 RGB, (3,) float32 = the window shown: centre x, centre y, side, px of the
    file's image, turned as its EXIF tag says). No window: the largest square in the middle. Black outside the image.

    Raises Refused. The header is judged before a pixel is decoded: a bomb costs nothing.
    """
    try:
        with warnings.catch_warnings():  # of large images: the job has its own limit
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
    except Image.DecompressionBombError:
        raise Refused(Reason.HUGE_IMAGE) from None
    except Exception:  # decoders raise whatever they like
        raise Refused(Reason.BROKEN_IMAGE) from None
    if width * height > max_pixels:
        raise Refused(Reason.HUGE_IMAGE)
    if min(width, height) < min_side:
        raise Refused(Reason.SMALL_IMAGE)
    try:
        pixels = ImageOps.exif_transpose(image).convert("RGB")
    except Exception:
        raise Refused(Reason.BROKEN_IMAGE) from None
    middle = (pixels.width / 2, pixels.height / 2, min(pixels.size))
    x, y, side = map(float, middle if window is None else window)
    length = max(1, round(side))
    left, top = round(x - length / 2), round(y - length / 2)
    if length < min_side or length**2 > max_pixels:
        raise Refused(Reason.SMALL_IMAGE if length < min_side else Reason.HUGE_IMAGE)
    cut = pixels.crop((left, top, left + length, top + length)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(cut), np.array([left + length / 2, top + length / 2, length], np.float32)

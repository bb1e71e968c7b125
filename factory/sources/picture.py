"""Decodes an image file of untrusted origin to square RGB pixels, or gives the reason why it is rejected."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from factory.record import Reason
from factory.sources.modes import rgb
from factory.untrusted import Unreadable, metadata
from factory.untrusted.pictures import PICTURE_FORMATS

ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF's tag, and the value of an upright image
TURNS = {  # other value -> transposition that makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW = threading.Lock()  # Pillow's limit of pixels is a global variable


class Refused(Exception):
    """The image cannot be used; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


UNREADABLE = (Refused, Unreadable, OSError, KeyError)  # what reading an image of a source raises


def why_unread(error: Exception) -> str:
    """Why an image is left out, in words, by one of UNREADABLE."""
    if isinstance(error, Refused):
        return str(error.reason.value)
    return "too large" if isinstance(error, Unreadable) else "not there"


def square(
    data: bytes, size: int, window: np.ndarray | None, min_side: int, max_pixels: int
) -> tuple[np.ndarray, np.ndarray]:
    """An image file -> ((size, size, 3) uint8 RGB, (3,) float32 window: centre x, centre y and side, px of the file's
    image after it was turned as its EXIF tag says). window: the square to take; None: the largest one in the middle.
    Outside the image the square is black; transparent pixels are white.

    Raises Refused. The size is checked before pixels are decoded, so a decompression bomb costs nothing. A file that
    cannot be decoded is tried once more without its metadata, because only that may be damaged.
    """
    with _own_limit():
        pixels = _read(data, min_side, max_pixels)
        middle = (pixels.width / 2, pixels.height / 2, min(pixels.size))
        x, y, side = map(float, middle if window is None else window)
        length = max(1, round(side))
        left, top = round(x - length / 2), round(y - length / 2)
        if length < min_side or length**2 > max_pixels:
            raise Refused(Reason.SMALL_IMAGE if length < min_side else Reason.HUGE_IMAGE)
        cut = pixels.crop((left, top, left + length, top + length)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(cut), np.array([left + length / 2, top + length / 2, length], np.float32)


def whole(data: bytes, min_side: int, max_pixels: int) -> np.ndarray:
    """An image file -> (H, W, 3) uint8 RGB, all of it, turned as its EXIF tag says. Raises Refused, as `square`."""
    with _own_limit():
        return np.asarray(_read(data, min_side, max_pixels))


def _read(data: bytes, min_side: int, max_pixels: int) -> Image.Image:
    try:
        return _upright(data, b"", min_side, max_pixels)
    except Refused:
        raise
    except Exception:  # decoders may raise any error
        return _read_plainly(data, min_side, max_pixels)


def _read_plainly(data: bytes, min_side: int, max_pixels: int) -> Image.Image:
    try:
        return _upright(*metadata.without(data), min_side, max_pixels)
    except Refused:
        raise
    except Exception:
        raise Refused(Reason.BROKEN_IMAGE) from None


def _upright(data: bytes, exif: bytes, min_side: int, max_pixels: int) -> Image.Image:
    """The image in mode RGB, made upright as its EXIF data say, or else as `exif` says, the EXIF data that were taken
    out of the file. Raises Refused, or any error that Pillow raises for a damaged file."""
    image = Image.open(io.BytesIO(data), formats=PICTURE_FORMATS)
    width, height = image.size
    if width * height > max_pixels:
        raise Refused(Reason.HUGE_IMAGE)
    if min(width, height) < min_side:
        raise Refused(Reason.SMALL_IMAGE)
    image.load()
    turn = TURNS.get(_orientation(image, exif))
    pixels = rgb(image)
    return pixels if turn is None else pixels.transpose(turn)


def _orientation(image: Image.Image, exif: bytes) -> int:
    try:
        tags = image.getexif()
        if exif:
            tags.load(exif)
        return int(tags.get(ORIENTATION, UPRIGHT))
    except Exception:  # broken EXIF data: the image stays as it is stored
        return UPRIGHT


@contextmanager
def _own_limit() -> Iterator[None]:
    """Switch Pillow's limit of pixels off for the block: the job has its own, which was checked before."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about transparency and metadata
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before

"""Strangers' files: each becomes a square of pixels, or a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from factory.record import Reason
from factory.sources.picture import Refused, square


def encoded(image, form="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(width=80, height=60):
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 3, y * 3, x * 0], -1).astype(np.uint8))


def refusal(data, window=None, min_side=16, max_pixels=10_000):
    with pytest.raises(Refused) as caught:
        square(data, 32, window, min_side, max_pixels)
    return caught.value.reason


def test_the_middle_of_a_wide_picture():
    pixels, window = square(encoded(picture()), 60, None, 16, 10_000)
    assert pixels.shape == (60, 60, 3) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(window, [40, 30, 60])
    np.testing.assert_array_equal(pixels, np.asarray(picture())[:, 10:70])


def test_a_window_may_lie_half_outside():
    pixels, window = square(encoded(picture()), 40, np.array([0.2, 30, 40.3]), 16, 10_000)
    np.testing.assert_array_equal(window, [0, 30, 40])
    assert not pixels[:, :20].any()
    np.testing.assert_array_equal(pixels[:, 20:], np.asarray(picture())[10:50, :20])


def test_turned_as_its_camera_says_and_in_any_mode():
    turned = picture().rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    data = encoded(turned, "png", exif=exif)
    np.testing.assert_array_equal(square(data, 60, None, 16, 10_000)[0], np.asarray(picture())[:, 10:70])
    for mode in ("L", "P", "RGBA", "1"):
        assert square(encoded(picture().convert(mode)), 32, None, 16, 10_000)[0].shape == (32, 32, 3)


def test_sizes():
    assert refusal(encoded(picture(15, 60))) == Reason.SMALL_IMAGE
    assert refusal(encoded(picture(200, 60))) == Reason.HUGE_IMAGE
    assert refusal(encoded(picture()), np.array([40, 30, 4])) == Reason.SMALL_IMAGE
    assert refusal(encoded(picture()), np.array([40, 30, 4000])) == Reason.HUGE_IMAGE


@pytest.mark.parametrize("side", [10_000, 60_000])  # above the job's limit, and above Pillow's own
def test_a_bomb_is_refused_by_its_header(side):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    )
    assert refusal(bomb, max_pixels=50_000_000) == Reason.HUGE_IMAGE


def test_broken_files():
    whole = encoded(picture(), "jpeg")
    for data in (b"", b"no picture", whole[:20], whole[: len(whole) // 2], encoded(picture(), "gif")):
        assert refusal(data) == Reason.BROKEN_IMAGE

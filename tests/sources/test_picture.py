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


SHADES = np.tile(np.linspace(0, 1, 64), (64, 1))  # black to white, from left to right


def shown(data, max_pixels=10_000):
    return square(data, 64, None, 16, max_pixels)[0]


def wide(kind, scale):
    return encoded(Image.fromarray((SHADES * scale).astype(kind)), "tiff")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(Image.fromarray((SHADES * 65535).astype("<u2")), "png"), id="16-bit PNG"),
        pytest.param(wide("<u2", 65535), id="16-bit TIFF"),
        pytest.param(wide(">u2", 65535), id="16-bit TIFF, most significant byte first"),
        pytest.param(wide("<i4", 10**9), id="32-bit TIFF"),
        pytest.param(wide("<i4", 255), id="8 bits in 32"),
        pytest.param(wide("<f4", 1), id="float TIFF"),
        pytest.param(wide("<f4", 4000), id="float TIFF of a wider range"),
    ],
)
def test_a_grey_picture_of_any_depth_keeps_its_shades(data):
    expected = np.round(SHADES * 255)[..., None].repeat(3, -1)
    assert np.abs(shown(data).astype(int) - expected).max() <= 1


def test_a_half_bright_float_picture_is_not_stretched():
    assert shown(wide("<f4", 0.5)).max() == 128


def test_a_float_picture_with_holes_is_read():
    values = SHADES.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(shown(encoded(Image.fromarray(values), "tiff"))[0, :3, 0], [0, 255, 0])
    assert not shown(encoded(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "tiff")).any()


def see_through():
    """Red whose left half cannot be seen and whose last quarter is half there."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 0], pixels[:, 32:, 3], pixels[:, 48:, 3] = 200, 255, 128
    return Image.fromarray(pixels)


@pytest.mark.parametrize("form", ["png", "tiff", "webp"])
def test_what_is_transparent_shows_white_and_no_hidden_colour(form):
    pixels = shown(encoded(see_through(), form, **({"lossless": True} if form == "webp" else {})))
    np.testing.assert_array_equal(pixels[32, [0, 40, 60]], [[255, 255, 255], [200, 0, 0], [227, 127, 127]])


@pytest.mark.parametrize("mode", ["LA", "PA"])
def test_grey_and_palettes_with_alpha_show_white_too(mode):
    pixels = shown(encoded(see_through().convert(mode), "tiff"))
    assert (pixels[:, :32] == 255).all() and pixels[32, 40, 1] < 100


def test_a_colour_that_stands_for_nothing_shows_white():
    solid = see_through().convert("RGB")
    solid.paste((0, 90, 0), (0, 0, 32, 64))
    paletted = solid.quantize(4)
    green = paletted.getpixel((0, 0))
    for image, clear in (
        (solid, (0, 90, 0)),
        (paletted, green),
        (solid.convert("L"), solid.convert("L").getpixel((0, 0))),
    ):
        pixels = shown(encoded(image, "png", transparency=clear))
        assert (pixels[:, :32] == 255).all() and (pixels[:, 32:] != 255).any()
    pixels = shown(encoded(Image.fromarray((SHADES * 65535).astype("<u2")), "png", transparency=0))
    assert pixels[32, 0, 0] == 255 and pixels[32, 1, 0] < 10


@pytest.mark.parametrize(("mode", "form"), [("CMYK", "jpeg"), ("CMYK", "tiff"), ("YCbCr", "tiff"), ("LAB", "tiff")])
def test_other_colours_become_rgb(mode, form):
    solid = Image.new("RGB", (64, 64), (200, 30, 30))
    assert np.abs(shown(encoded(solid.convert(mode), form))[32, 32].astype(int) - (200, 30, 30)).max() < 12


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK"])
def test_ordinary_pictures_are_what_pillow_makes_of_them(mode):
    form = "jpeg" if mode == "CMYK" else "png"
    data = encoded(picture(64, 64).convert(mode), form)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(shown(data), expected)


def exif_with_a_bad_rational():
    """Turned by 90 degrees; and the resolution is -1, which cannot be written down again."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x011A, 10, 1, 8 + 2 + 24 + 4)
    return b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<Iii", 0, -1, 1)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
def test_bad_exif_makes_no_picture_broken(form):
    turned = picture().rotate(90, expand=True)
    if form == "tiff":
        data = encoded(turned, form, tiffinfo={0x0112: 6, 0x011A: 1.0})
        at = data.index(struct.pack("<HHI", 0x011A, 5, 1)) + 8
        place = struct.unpack_from("<I", data, at)[0]
        data = (
            data[: at - 6]
            + struct.pack("<H", 10)
            + data[at - 4 : place]
            + struct.pack("<ii", -1, 1)
            + data[place + 8 :]
        )
    else:
        options = {"jpeg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(form, {})
        data = encoded(turned, form, exif=exif_with_a_bad_rational(), **options)
    pixels = square(data, 60, None, 16, 10_000)[0].astype(int)
    assert np.abs(pixels - np.asarray(picture())[:, 10:70]).max() <= 3  # and it is turned as its EXIF says


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
        (b"iCCP", b"icc\0\0" + zlib.compress(bytes(3_000_000))),
        (b"iCCP", b"icc\0\0broken"),
        (b"eXIf", b"no exif at all"),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"\xff" * 100),
        (b"tEXt", b"Raw profile type exif\0\nexif\n 3\nzz"),
    ],
)
def test_what_a_png_says_about_itself_never_decides(kind, content):
    data = encoded(picture(64, 64))
    data = data[:33] + chunk(kind, content) + data[33:]
    np.testing.assert_array_equal(shown(data), np.asarray(picture(64, 64)))


@pytest.mark.parametrize(
    "segment",
    [
        b"\xff\xe2\x00\x0eICC_PROFILE\0",
        b"\xff\xe2\x00\x08MPF\0II",
        b"\xff\xe1\x00\x0aExif\0\0II",
        b"\xff\xed\x00\x12Photoshop 3.0\x008B",
    ],
)
def test_what_a_jpeg_says_about_itself_never_decides(segment):
    plain = encoded(picture(64, 64), "jpeg")
    np.testing.assert_array_equal(shown(plain[:2] + segment + plain[2:]), shown(plain))


def test_the_jobs_limit_is_the_limit_and_not_pillows(monkeypatch):
    """Pillow's own is far below the picture's size, as it is for one of 196 megapixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    np.testing.assert_array_equal(shown(encoded(picture(64, 64))), np.asarray(picture(64, 64)))
    assert refusal(encoded(picture(64, 64)), max_pixels=4000) == Reason.HUGE_IMAGE
    assert Image.MAX_IMAGE_PIXELS == 1000  # of others in the same process

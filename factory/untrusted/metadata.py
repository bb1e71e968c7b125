"""Image files without their metadata, so that a file of which only the metadata are damaged can still be decoded.

Cameras and editors most often get comments, profiles, thumbnails and EXIF wrong, and no pixel depends on these.
"""

from __future__ import annotations

import struct

PNG = b"\x89PNG\r\n\x1a\n"
METADATA = {b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tIME", b"pHYs", b"sPLT", b"hIST", b"gAMA", b"cHRM", b"sRGB"}
# Tags of a TIFF that the pixels or their orientation depend on. All others are given a type that readers skip.
PIXELS = {*range(254, 260), 262, 266, *range(273, 281), 284, 292, 293, 317, *range(320, 326), *range(332, 334),
          *range(336, 340), 347, *range(512, 522), *range(529, 533)}  # fmt: skip
NO_TYPE = 0  # a type that TIFF does not have
EXIF = b"Exif\0\0"


def without(data: bytes) -> tuple[bytes, bytes]:
    """(the image file without its metadata, its EXIF block or b""). In a TIFF the tag of the orientation stays, so no
    block is returned. A file of another format is left as it is, and so is what follows a damaged place of a file."""
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(data), b""
    return data, b""


def _png(data: bytes) -> tuple[bytes, bytes]:
    kept, exif, at = [PNG], b"", len(PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind == b"eXIf" and not exif:
            exif = EXIF + data[at + 8 : end - 4]
        if kind not in METADATA:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]]), exif


def _jpeg(data: bytes) -> tuple[bytes, bytes]:
    kept, exif, at = [data[:2]], b"", 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xDA:  # the pixels
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 :].startswith(EXIF) and not exif:
            exif = data[at + 4 : end]
        if not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)):  # APP0 and APP14 tell how colours are stored
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]]), exif


def _tiff(data: bytes) -> bytes:
    """The file with type 0 for all tags but those in PIXELS: readers skip a tag of no known type."""
    order, changed = "<" if data[:2] == b"II" else ">", bytearray(data)
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}H", data, entry)[0] not in PIXELS:
                struct.pack_into(f"{order}H", changed, entry + 2, NO_TYPE)
    except struct.error:
        return data
    return bytes(changed)

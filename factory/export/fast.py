"""Our own samples taken apart without looking twice: ten times as fast as tarfile and np.load, which read any file.

The store writes every sample in the same way, so the place of an array in an .npz follows from the file's size. What
was found in one file is held against the bytes of the next before it is trusted.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK = tarfile.BLOCKSIZE
LOCAL = 30  # bytes of a zip member's header before its name
NAME_LENGTH = 26  # where in it the lengths of name and extra field stand; what lies before tells of the content


class Place(NamedTuple):
    name: str
    start: int  # of the bytes that must be equal: name and .npy header
    head: bytes
    dtype: np.dtype
    shape: tuple[int, ...]


def members(segment: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a USTAR segment of plain files. ValueError where it is anything else."""
    at = 0
    while at < len(segment):
        header = segment[at : at + BLOCK]
        if header[257:262] != b"ustar" or header[156:157] != tarfile.REGTYPE or header[345:346] != b"\0":
            raise ValueError(f"no plain tar member at byte {at}")
        size = int(header[124:136].rstrip(b"\0 "), 8)
        at += BLOCK
        yield header[:100].rstrip(b"\0").decode("ascii"), segment[at : at + size]
        at += size + -size % BLOCK


def arrays(data: bytes, layouts: dict[int, list[Place]]) -> dict[str, np.ndarray]:
    """Name -> array, read-only, of an uncompressed .npz. `layouts` remembers, by size. ValueError and BadZipFile as
    np.load."""
    layout = layouts.get(len(data))
    if layout is None or any(data[p.start : p.start + len(p.head)] != p.head for p in layout):
        layout = layouts[len(data)] = _layout(data)
    return {
        p.name: np.frombuffer(data, p.dtype, int(np.prod(p.shape)), p.start + len(p.head)).reshape(p.shape)
        for p in layout
    }


def _layout(data: bytes) -> list[Place]:
    places = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            lengths = data[info.header_offset + NAME_LENGTH : info.header_offset + LOCAL]
            begin = info.header_offset + LOCAL + sum(np.frombuffer(lengths, "<u2").tolist())
            stream = io.BytesIO(data[begin : begin + info.file_size])
            if info.compress_type != zipfile.ZIP_STORED or np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError(f"{info.filename}: not as the store writes it")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            if fortran or dtype.hasobject:
                raise ValueError(f"{info.filename}: not as the store writes it")
            start = info.header_offset + NAME_LENGTH
            places.append(
                Place(info.filename.removesuffix(".npy"), start, data[start : begin + stream.tell()], dtype, shape)
            )
    return places

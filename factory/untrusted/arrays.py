"""numpy's .npy and .npz of untrusted origin: the header is checked before memory is taken, and nothing is unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from factory.untrusted import Unreadable

NUMBERS = "fiu"  # numpy's letters of kinds of dtype
TEXTS = "US"
ANY = "biufcmMUS"
HEADER = 10_000  # bytes at most; numpy parses a header as Python
TEXT = 16_384  # bytes at most of one entry of an array of texts
DIRECTORY = 1 << 20  # bytes at most of an archive's directory, which zipfile holds as Python objects
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes


class Header(NamedTuple):
    """What the header of an .npy says."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool  # whether the array is stored column by column
    bytes: int  # length of the array, without the header


def npy(data: bytes, shape: tuple[int, ...] | None = None, kinds: str = NUMBERS) -> np.ndarray:
    """The array of an .npy in memory, read-only. Unreadable: the length of the data is not what the header says, the
    dtype is none of `kinds`, or the shape is not the one given."""
    start = _start(data)
    head = header(data[:start])
    _check(head, kinds)
    if shape is not None and head.shape != shape:
        raise Unreadable(f"{head.shape}, not {shape}")
    if len(data) - start != head.bytes:
        raise Unreadable(f"{len(data) - start} bytes are no {head.dtype} {head.shape}")
    return _array(data, head, start)


def npz(source: bytes | Path, kinds: Mapping[str, str], limit: int) -> dict[str, np.ndarray]:
    """Name -> array, read-only, of those arrays that `kinds` names (name -> allowed kinds of dtype) and the .npz holds.
    Unreadable: damaged, of another kind, or more than `limit` bytes altogether."""
    named: dict[str, np.ndarray] = {}
    with _opened(source) as archive:
        for name, allowed in kinds.items():
            if f"{name}.npy" in archive.NameToInfo:
                named[name] = member(archive, name, allowed, limit)
                limit -= named[name].nbytes
    return named


def names(source: bytes | Path) -> list[str]:
    """The names of an archive's members, those of arrays with their ending .npy. Unreadable: it is no archive."""
    with _opened(source) as archive:
        return archive.namelist()


def directory(file: IO[bytes]) -> zipfile.ZipFile:
    """The archive in a file, opened. Unreadable: the archive is damaged, or has more members than any .npz."""
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - 65_557))  # the end of the directory, and the longest comment after it
        end = file.read()
        at = end.rfind(b"PK\5\6")
        if at >= 0 and int.from_bytes(end[at + 12 : at + 16], "little") > DIRECTORY:
            raise Unreadable("its directory is longer than that of any .npz")
        file.seek(0)
        return zipfile.ZipFile(file)
    except Unreadable:
        raise
    except Exception as error:  # zipfile raises errors of its own, of struct and of codecs
        raise Unreadable(error) from None


def header(data: bytes) -> Header:
    """The header of an .npy. data: its first bytes, up to those of the array. Unreadable: the bytes are no .npy's."""
    if not data.startswith(b"\x93NUMPY") or len(data) > HEADER:
        raise Unreadable("not an .npy" if len(data) <= HEADER else "its header is longer than that of any array")
    return _header(data)


@lru_cache(maxsize=256)
def _header(data: bytes) -> Header:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as error:  # it is parsed as Python, which fails in many ways
        raise Unreadable(f"not an .npy ({type(error).__name__})") from None
    if any(length < 0 for length in shape) or len(shape) > 32:
        raise Unreadable(f"no array has the shape {shape}")
    return Header(shape, dtype, fortran, math.prod(shape) * dtype.itemsize)


def start(stream: IO[bytes]) -> bytes:
    """Read the bytes of an .npy in a stream up to the array's own, and return them."""
    head = stream.read(12)
    rest = _start(head) - len(head)
    return head + stream.read(rest) if rest > 0 else head


def _start(data: bytes) -> int:
    """The offset of the array's own bytes; HEADER + 1 where the header claims to be longer than HEADER."""
    wide = data[6:7] != b"\1"
    begin = (12 if wide else 10) + int.from_bytes(data[8 : 12 if wide else 10], "little")
    return min(begin, HEADER + 1)


def _check(head: Header, kinds: str) -> None:
    if head.dtype.hasobject:
        raise Unreadable("holds objects, not numbers, which would have to be unpickled")
    if head.dtype.kind not in kinds or head.dtype.subdtype or head.dtype.names:
        raise Unreadable(f"{str(head.dtype)[:40]} is not {'text' if kinds == TEXTS else 'numbers'}")
    if head.dtype.kind in TEXTS and head.dtype.itemsize > TEXT:
        raise Unreadable(f"texts of {head.dtype.itemsize} bytes each")


def member(archive: zipfile.ZipFile, name: str, kinds: str, limit: int) -> np.ndarray:
    """An array of an opened archive, read-only. KeyError where there is none of that name; Unreadable as `npz`."""
    info = archive.getinfo(f"{name}.npy")
    try:
        if info.compress_type not in PLAIN:
            raise Unreadable("packed in a way that numpy does not use")
        with archive.open(info) as stream:
            begin = start(stream)
            length = _start(begin)
            head, early = header(begin[:length]), begin[length:]
            _check(head, kinds)
            if head.bytes > limit:
                raise Unreadable(f"{head.bytes:,} bytes, more than are read here ({limit:,})")
            data = early + stream.read(head.bytes + 1 - len(early))
            if len(data) != head.bytes:
                raise Unreadable(f"{len(data)} bytes are no {head.dtype} {head.shape}")
    except Exception as error:  # zipfile raises errors of its own, of zlib and of others
        raise Unreadable(f"{name}: {str(error) or type(error).__name__}") from None
    return _array(data, head, 0)


def _array(data: bytes, head: Header, begin: int) -> np.ndarray:
    flat = np.frombuffer(data, head.dtype, math.prod(head.shape), begin) if head.bytes else np.empty(0, head.dtype)
    return flat.reshape(head.shape, order="F" if head.fortran else "C")


@contextmanager
def _opened(source: bytes | Path) -> Iterator[zipfile.ZipFile]:
    try:
        file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")
    except OSError as error:
        raise Unreadable(error.strerror) from None
    with file, directory(file) as archive:
        yield archive

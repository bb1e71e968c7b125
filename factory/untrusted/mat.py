"""MATLAB's files of strangers (level 5): the texts of one field, and nothing else of them, is read.

A file is a row of elements: a tag (kind and length), then its bytes, which may be elements again. So a reader walks to
the field that it wants and leaves out what lies in between; what the file says of sizes is never allocated.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from factory.untrusted import Unreadable

MOST = 1 << 29  # bytes that a file may have, and a variable unpacked
ELEMENTS = 1_000_000  # in one structure
HEADER = 128
MATRIX, COMPRESSED = 14, 15  # kinds
STRUCT, CHAR = 2, 4  # classes of a matrix
ENCODINGS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}  # kind of a text -> its encoding


class Element(NamedTuple):
    """Its bytes are [start, stop); the next element begins at `after`."""

    kind: int
    start: int
    stop: int
    after: int


def texts(data: bytes, variable: str, fields: Sequence[str]) -> list[str]:
    """The texts of `variable.fields[0].fields[1]...`, of every entry of the structures on the way. What is no text
    there is left out. Unreadable: no such file or field, or damaged."""
    if len(data) < HEADER or data[126:128] not in (b"IM", b"MI"):
        raise Unreadable("not a MATLAB file of level 5")
    try:
        return list(_Reader(data, "<" if data[126:128] == b"IM" else ">").texts(variable, fields))
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise Unreadable(f"damaged ({error})") from None


class _Reader:
    def __init__(self, data: bytes, order: str) -> None:
        self.data, self.order = data, order

    def texts(self, variable: str, fields: Sequence[str]) -> Iterator[str]:
        at = HEADER
        while at < len(self.data):
            element = self._element(at)
            if element.kind == COMPRESSED:
                inner = _Reader(_inflated(self.data[element.start : element.stop]), self.order)
                yield from inner._named(inner._element(0), variable, fields)
                at = element.stop  # only these are not filled up to eight bytes
            else:
                yield from self._named(element, variable, fields)
                at = element.after

    def _named(self, element: Element, variable: str, fields: Sequence[str]) -> Iterator[str]:
        if element.kind == MATRIX and element.start < element.stop and self._matrix(element)[1] == variable:
            yield from self._below([element], fields)

    def _below(self, matrices: list[Element], fields: Sequence[str]) -> Iterator[str]:
        for matrix in matrices:
            kind, _, at = self._matrix(matrix) if matrix.start < matrix.stop else (0, "", 0)
            if not fields:
                if kind == CHAR:
                    yield self._text(self._element(at))
            elif kind == STRUCT:
                yield from self._below(self._field(at, matrix.stop, fields[0]), fields[1:])
            else:
                raise Unreadable(f"has no {fields[0]}")

    def _field(self, at: int, stop: int, name: str) -> list[Element]:
        """The matrices of that field, of each entry of a structure."""
        length = self._element(at)
        names = self._element(length.after)
        (width,) = struct.unpack_from(f"{self.order}i", self.data, length.start)
        if not 0 < width <= 64 or not 0 < (names.stop - names.start) // width <= 1000:
            raise Unreadable("damaged: a structure without fields")
        text = self.data[names.start : names.stop]
        known = [text[i : i + width].partition(b"\0")[0].decode("latin1") for i in range(0, len(text), width)]
        if name not in known:
            raise Unreadable(f"has no {name}")
        found, at, number = [], names.after, 0
        while at < stop:
            element = self._element(at)
            if element.kind != MATRIX or number > ELEMENTS * len(known):
                raise Unreadable("damaged: a structure of something else")
            if known[number % len(known)] == name:
                found.append(element)
            number, at = number + 1, element.after
        return found

    def _matrix(self, matrix: Element) -> tuple[int, str, int]:
        """(class, name, where its contents begin)."""
        flags = self._element(matrix.start)
        name = self._element(self._element(flags.after).after)
        (word,) = struct.unpack_from(f"{self.order}I", self.data, flags.start)
        return word & 0xFF, self.data[name.start : name.stop].decode("latin1"), name.after

    def _text(self, element: Element) -> str:
        encoding = ENCODINGS.get(element.kind, "latin1")
        if encoding == "utf-16":
            encoding += "-le" if self.order == "<" else "-be"
        return self.data[element.start : element.stop].decode(encoding)

    def _element(self, at: int) -> Element:
        kind, size = struct.unpack_from(f"{self.order}II", self.data, at)
        if kind >> 16:  # a short one: its length lies in the upper half, its bytes in the tag
            return Element(kind & 0xFFFF, at + 4, at + 4 + min(kind >> 16, 4), at + 8)
        stop = at + 8 + size
        if stop > len(self.data):
            raise Unreadable("damaged: it ends too early")
        return Element(kind, at + 8, stop, stop + -size % 8)


def _inflated(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    out = unpacker.decompress(data, MOST)
    if not unpacker.eof:
        raise Unreadable(f"damaged, or it unpacks to more than {MOST:,} bytes")
    return out

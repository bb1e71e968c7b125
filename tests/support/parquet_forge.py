"""Parquet files that lie: pages, footers and their numbers are put together by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12
TEXT, LONG = 6, 2  # types of a column: BYTE_ARRAY, INT64
PLAIN, DICTIONARY = 0, 8  # encodings
Field = tuple[int, int, object]  # number, kind, value; a list's value is (kind, values)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def written(kind: int, value) -> bytes:
    if kind in (I32, I64):
        return varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if kind == BINARY:
        data = value.encode() if isinstance(value, str) else value
        return varint(len(data)) + data
    if kind == LIST:
        inner, values = value
        return bytes([0xF0 | inner]) + varint(len(values)) + b"".join(written(inner, each) for each in values)
    return value  # a struct


def struct(*fields: Field) -> bytes:
    out, last = b"", 0
    for number, kind, value in fields:
        out += bytes([number - last << 4 | kind]) + written(kind, value)
        last = number
    return out + b"\0"


def page(content: bytes, size: int, values: int, encoding: int = PLAIN, dictionary: bool = False) -> bytes:
    """content: packed; size: bytes that the header says it unpacks to."""
    inner = [(1, I32, values), (2, I32, encoding)] + [(3, I32, 3), (4, I32, 3)] * (not dictionary)
    head = (7 if dictionary else 5, STRUCT, struct(*inner))
    return struct((1, I32, 2 if dictionary else 0), (2, I32, size), (3, I32, len(content)), head) + content


def zeros(megabytes: int) -> bytes:
    """So many MB of zeros, packed by zstd into hundreds of bytes each."""
    return pa.compress(bytes(1 << 20), "zstd", asbytes=True) * megabytes


def parquet(
    pages: bytes, rows: int, kind: int = TEXT, name: str = "key", values: int | None = None, groups: int = 1,
    head: Mapping[str, str] = {}, dictionary: int = 0, told: int | None = None,
) -> bytes:  # fmt: skip
    """A file of one column whose chunk is `pages`, in each of so many row groups of `rows` rows.

    values: of the chunk, as the footer says; dictionary: bytes of the first of the pages, if it is one; told: rows of
    the whole file, as the footer says.
    """
    places = [(9, I64, 4 + dictionary)] + [(11, I64, 4)] * bool(dictionary)
    chunk = struct(
        (1, I32, kind), (2, LIST, (I32, [0, 3, 8])), (3, LIST, (BINARY, [name])), (4, I32, 6),
        (5, I64, rows if values is None else values), (6, I64, 100), (7, I64, len(pages)), *places,
    )  # fmt: skip
    column = struct((2, I64, 4), (3, STRUCT, chunk))
    group = struct((1, LIST, (STRUCT, [column])), (2, I64, 100), (3, I64, rows))
    root = struct((4, BINARY, "schema"), (5, I32, 1))
    text = [(6, I32, 0)] if kind == TEXT else []
    leaf = struct((1, I32, kind), (3, I32, 0), (4, BINARY, name), *text)
    footer = struct(
        (1, I32, 1), (2, LIST, (STRUCT, [root, leaf])), (3, I64, rows * groups if told is None else told),
        (4, LIST, (STRUCT, [group] * groups)),
        (5, LIST, (STRUCT, [struct((1, BINARY, key), (2, BINARY, value)) for key, value in head.items()])),
    )  # fmt: skip
    return b"PAR1" + pages + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def texts(*lengths: int) -> bytes:
    return b"".join(length.to_bytes(4, "little") + b"x" * length for length in lengths)


def attacks(head: Mapping[str, str] = {}) -> dict[str, bytes]:
    """What -> a file whose pages or footer lie."""
    packed = pa.compress(texts(1, 1), "zstd", asbytes=True)
    long = 1 << 30
    empty = page(zeros(256), 256 << 20, 64 << 20, dictionary=True)
    return {
        "a page that unpacks to a gigabyte": parquet(page(zeros(1024), long, 2), 2, head=head),
        "a page that says so": parquet(page(packed, 2**31 - 1, 2), 2, head=head),
        "two gigabytes of numbers": parquet(page(zeros(2047), 2047 << 20, 268_000_000), 2, LONG, "seed", head=head),
        "a thousand million rows": parquet(page(zeros(1), 1 << 20, 10**9), 10**9, LONG, "seed", head=head),
        "rows that only the column has": parquet(page(zeros(1), 1 << 20, 10**9), 2, values=10**9, head=head),
        "rows that only the row groups have": parquet(page(zeros(1), 1 << 20, 10**9), 10**9, told=2, head=head),
        "a dictionary of empty texts": parquet(
            empty + page(packed, 10, 2, DICTIONARY), 2, dictionary=len(empty), head=head
        ),
        "one column in many row groups": parquet(page(zeros(60), 60 << 20, 2), 2, groups=60, head=head),
        "many row groups": parquet(page(packed, 10, 2), 2, groups=100_000, head=head),
        "a page beyond the end": parquet(page(packed, 10, 2)[:-5], 2, head=head),
        "a negative page": parquet(page(packed, -1, 2), 2, head=head),
    }

"""The headers of a parquet file's pages, read before a page is unpacked.

Arrow believes the header of each page, whatever the footer says: a page of some kilobytes may claim 2 GB, and may be
packed so that it unpacks to them. pyarrow shows no header of a page, and it ends the whole process when it is asked for
the columns of a damaged footer. So footer and headers, which are structs of Thrift's compact protocol, are read here as
far as `unpacked` needs them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from factory.untrusted import Unreadable

# Thrift's kinds of values. Each value begins with a byte that holds its kind.
BOOLEAN, BYTE, NUMBERS, DOUBLE, BINARY, LISTS, STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 12
I32, I64, LIST = 5, 6, 9
FIELD, LENGTH, DEPTH = 64, 64, 8  # at most: the number of a field, the values of a list, values inside each other
# (number of a field, its kind) -> the fields that are wanted of its structs; None for a number. A field of another kind
# is skipped, as Arrow skips it.
Wanted = dict[tuple[int, int], Any]
COLUMN: Wanted = dict.fromkeys([(1, I32), (5, I64), (7, I64), (9, I64), (11, I64)])
FILE: Wanted = {(4, LIST): {(1, LIST): {(3, STRUCT): COLUMN}, (3, I64): None}}
TEXT = 6  # the type of a column of texts
DATA, DICTIONARY, DATA_2 = 0, 2, 3  # types of a page
# Type of a page -> (the field that holds the header of that type, the field of the encoding in this header)
HEADS = {DATA: (5, 2), DICTIONARY: (7, 2), DATA_2: (8, 4)}
PAGE: Wanted = {
    **dict.fromkeys([(1, I32), (2, I32), (3, I32)]),
    **{(head, STRUCT): dict.fromkeys([(1, I32), (encoding, I32)]) for head, encoding in HEADS.values()},
}
# Plain, dictionary and RLE. In other encodings a value may repeat a long text of the value before it.
ENCODINGS = (0, 2, 3, 8)


class Unpacked(NamedTuple):
    """The memory that the pages of a parquet file take once they are unpacked.

    pages: bytes of all pages; written_out: bytes at most, with each text of a dictionary in the place of each value
    that refers to it.
    """

    pages: int
    written_out: int


def unpacked(data: bytes, footer: int, rows: int) -> Unpacked:
    """The memory that the file's pages will take. data: the file; footer: length of its footer in bytes; rows: their
    number, as Arrow reads it in the footer. Unreadable: the file is damaged, or a page has another number of values
    than the footer says, or an encoding in which few bytes stand for many."""
    try:
        groups = _struct(data, len(data) - 8 - footer, FILE)[0].get((4, LIST), [])
        counts = [group[3, I64] for group in groups]
        if sum(counts) != rows or min(counts, default=0) < 0:
            raise Unreadable("its row groups have other rows than it says")
        chunks = [_chunk(data, column[3, STRUCT], group[3, I64]) for group in groups for column in group[1, LIST]]
        return Unpacked(sum(chunk.pages for chunk in chunks), sum(chunk.written_out for chunk in chunks))
    except (IndexError, KeyError):
        raise Unreadable("its footer or a page's header is damaged") from None


def _chunk(data: bytes, column: dict[tuple[int, int], Any], rows: int) -> Unpacked:
    """The memory that one column of a row group will take. column: its struct in the footer; rows: of the group."""
    at, dictionary = column[9, I64], column.get((11, I64), 0)  # offsets of the first page of values and the dictionary
    at = dictionary if 0 < dictionary < at else at
    end, size, values, texts = at + column[7, I64], 0, 0, 0
    if column[5, I64] == rows == 0:  # Arrow reads no page of a group without rows, and the offsets may lead nowhere
        return Unpacked(0, 0)
    if not 0 <= at <= end <= len(data) or column[5, I64] != rows:
        raise Unreadable("a column lies outside of it, or has other rows than it says")
    while at < end:
        page, at = _struct(data, at, PAGE)
        kind, length, packed = page[1, I32], page[2, I32], page[3, I32]
        field, encoding = HEADS[kind]
        head = page[field, STRUCT]
        count, at = head[1, I32], at + packed
        if min(length, count, packed) < 0 or at > end or head[encoding, I32] not in ENCODINGS:
            raise Unreadable("a page lies outside of its column, or is written in a way that no index is")
        if kind != DICTIONARY:
            values += count
        elif count > rows:
            raise Unreadable(f"a dictionary of {count:,} values for {rows:,} rows")
        else:
            texts += length
        size += length
    if values != rows:
        raise Unreadable(f"pages of {values:,} values for {rows:,} rows")
    return Unpacked(size, size + texts * rows * (column[1, I32] == TEXT))


def _struct(data: bytes, at: int, wanted: Wanted) -> tuple[dict[tuple[int, int], Any], int]:
    """(the wanted fields of the struct that begins at `at`, the offset behind it)."""
    fields: dict[tuple[int, int], Any] = {}
    number = 0
    while head := data[at]:
        kind, at = head & 15, at + 1
        if head > 15:
            number += head >> 4
        else:
            number, at = _number(data, at)
        if not 0 < number < FIELD:  # beyond 16 bits Arrow would go on counting from 0
            raise Unreadable("a field that no parquet file has")
        key = number, kind
        if key not in wanted:
            at = _past(data, at, kind) if kind > 2 else at
        elif kind == STRUCT:
            fields[key], at = _struct(data, at, wanted[key])
        elif kind == LIST:
            count, _, at = _list(data, at)
            fields[key] = []
            for _ in range(count):  # Arrow reads them as structs, whatever kind the list names
                struct, at = _struct(data, at, wanted[key])
                fields[key].append(struct)
        else:
            fields[key], at = _number(data, at)
    return fields, at + 1


def _past(data: bytes, at: int, kind: int, depth: int = DEPTH) -> int:
    """The offset behind the value of this kind that begins at `at`. depth: how many values may still lie in each
    other."""
    if kind in NUMBERS:
        while data[at] > 127:
            at += 1
        return at + 1
    if kind == BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind == STRUCT and depth:
        while head := data[at]:
            at = _past(data, at + 1, I64) if head < 16 else at + 1  # the number of the field follows
            kind = head & 15
            if 4 <= kind <= 8 and kind != DOUBLE and data[at] < 128:  # most are short, and a call would take longer
                at += 1 + (data[at] if kind == BINARY else 0)
            elif kind > 2:
                at = _past(data, at, kind, depth - 1)
        return at + 1
    if kind in LISTS and depth:
        count, inner, at = _list(data, at)
        for _ in range(count):
            at = at + 1 if inner in BOOLEAN else _past(data, at, inner, depth - 1)
        return at
    if kind in BOOLEAN:
        return at  # the kind of a boolean says its value
    if kind in (BYTE, DOUBLE):
        return at + (1 if kind == BYTE else 8)
    raise Unreadable("a kind of value that no parquet file has")


def _list(data: bytes, at: int) -> tuple[int, int, int]:
    """(number of values of the list at `at`, their kind, the offset of the first)."""
    count, kind, at = data[at] >> 4, data[at] & 15, at + 1
    if count == 15:
        count, at = _varint(data, at)
    if count > LENGTH:
        raise Unreadable(f"a list of {count:,} values")
    return count, kind, at


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[at]) > 127:
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if shift > 63:
            raise Unreadable("a number longer than any")
    return value | byte << shift, at + 1

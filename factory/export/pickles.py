"""Writes pickles that every version of numpy can load, for the exports whose trainers read pickles. `untrusted.inert`
reads them back.

numpy 2 pickles arrays with references to modules that numpy 1 does not have, and trainers pin numpy 1. So arrays are
written as calls of `numpy.ndarray` and `numpy.array`, which every version has. The pickle is written opcode by opcode,
so that an array that does not fit into memory can be streamed.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np


class Stream(NamedTuple):
    """An array whose bytes are given in chunks."""

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: Iterable[bytes]


def dump(value: object) -> Iterator[bytes]:
    """Yield the pickle of plain data in pieces: None, bool, int, float, str, list, tuple, dict, numpy arrays of numbers
    (0-d too) and `Stream`s. TypeError for anything else."""
    yield pickle.PROTO + b"\4"
    yield from _save(value)
    yield pickle.STOP


def dump_object(value: object) -> Iterator[bytes]:
    """As `dump`, but `value` is wrapped in a 0-d array of objects, as numpy stores it in an .npy."""
    yield pickle.PROTO + b"\4" + pickle.GLOBAL + b"numpy\narray\n" + pickle.MARK
    yield from _save(value)
    yield pickle.TUPLE + pickle.REDUCE + pickle.STOP


def _save(value: Any) -> Iterator[bytes]:
    if value is None or isinstance(value, bool):
        yield {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value]
    elif isinstance(value, int):
        number = pickle.encode_long(value)
        yield pickle.LONG1 + bytes([len(number)]) + number
    elif isinstance(value, float):
        yield pickle.BINFLOAT + struct.pack(">d", value)
    elif isinstance(value, str):
        text = value.encode()
        yield pickle.BINUNICODE + struct.pack("<I", len(text)) + text
    elif isinstance(value, dict):
        yield pickle.EMPTY_DICT + pickle.MARK
        for key, item in value.items():
            yield from _save(key)
            yield from _save(item)
        yield pickle.SETITEMS
    elif isinstance(value, list):
        yield pickle.EMPTY_LIST + pickle.MARK
        for item in value:
            yield from _save(item)
        yield pickle.APPENDS
    elif isinstance(value, Stream):  # before tuple: a Stream is one
        yield from _save_array(value)
    elif isinstance(value, tuple):
        yield pickle.MARK
        for item in value:
            yield from _save(item)
        yield pickle.TUPLE
    elif isinstance(value, np.ndarray):
        yield from _save_array(Stream(value.shape, value.dtype, [value.tobytes()]))
    else:
        raise TypeError(f"{type(value).__name__} is no plain data")


def _save_array(array: Stream) -> Iterator[bytes]:
    """Write the call numpy.ndarray(shape, dtype, bytearray(data)). With a bytearray the array is writable."""
    if array.dtype.hasobject:
        raise TypeError("an array of objects is no plain data")
    yield _opening(array.shape, array.dtype)
    yield from array.chunks
    yield pickle.TUPLE1 + pickle.REDUCE + pickle.TUPLE + pickle.REDUCE


@lru_cache
def _opening(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """The opcodes before an array's bytes."""
    size = struct.pack("<Q", math.prod(shape) * dtype.itemsize)
    what = b"".join([*_save(tuple(map(int, shape))), *_save(dtype.str)])
    call = pickle.GLOBAL + b"numpy\nndarray\n" + pickle.MARK + what
    return call + pickle.GLOBAL + b"builtins\nbytearray\n" + pickle.BINBYTES8 + size

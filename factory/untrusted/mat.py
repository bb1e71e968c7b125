"""MATLAB's files of strangers (level 5), read by SciPy once it is known how much they unpack to."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from factory.untrusted import Unreadable

MOST = 1 << 29  # bytes that a file may have, and all its variables unpacked
HEADER, TAG, COMPRESSED = 128, 8, 15  # bytes of the file's header; of an element's: kind and size; the kind


def variable(data: bytes, name: str) -> Any:
    """The variable, as `scipy.io.loadmat` gives structures by attribute. Unreadable: not there, damaged, or it unpacks
    to more than MOST bytes."""
    from scipy.io import loadmat

    try:
        _judge(data)
        found = loadmat(io.BytesIO(data), struct_as_record=False, squeeze_me=True, variable_names=[name])
        return found[name]
    except KeyError:
        raise Unreadable(f"it holds no {name}") from None
    except Unreadable:
        raise
    except Exception as error:  # SciPy raises whatever it stumbles over
        raise Unreadable(f"damaged, or no MATLAB file of level 5 ({error})") from None


def _judge(data: bytes) -> None:
    """Unpack the compressed elements, a piece at a time, and count."""
    order = ">" if data[HEADER - 2 : HEADER] == b"MI" else "<"
    at, total = HEADER, 0
    while at + TAG <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        at += TAG
        if kind == COMPRESSED:
            unpacker, rest = zlib.decompressobj(), data[at : at + size]
            while rest and not unpacker.eof:
                total += len(unpacker.decompress(rest, 1 << 20))
                rest = unpacker.unconsumed_tail
                if total > MOST:
                    raise Unreadable(f"it unpacks to more than {MOST:,} bytes")
        at += size

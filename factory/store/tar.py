"""Tar bytes that depend on nothing but names and contents.

A segment is a run of members without the zeros that end an archive, so segments laid one after the other, plus
`trailer`, are an archive: that is how parts become a shard without being read again.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator

BLOCK = tarfile.BLOCKSIZE  # 512


def segment(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Members as USTAR, in the order given: mtime 0, owner 0:0, mode 0644. ValueError for a name USTAR cannot hold."""
    out = bytearray()
    for name, data in members:
        info = tarfile.TarInfo(name)  # its defaults: a plain file, mode 0644, uid = gid = mtime = 0, no owner names
        info.size = len(data)
        out += info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
        out += data
        out += bytes(-len(data) % BLOCK)
    return bytes(out)


def trailer(size: int) -> bytes:
    """What ends an archive of `size` segment bytes: two zero blocks, and zeros up to tar's customary record."""
    end = size + 2 * BLOCK
    return bytes(end - size + -end % tarfile.RECORDSIZE)


def members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of an archive or a segment. Raises tarfile.ReadError where it is damaged."""
    if not data:
        return
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive:
            stream = archive.extractfile(info)
            yield info.name, stream.read() if stream else b""
        if data[archive.offset :].strip(b"\0"):  # tarfile takes a damaged header for the end
            raise tarfile.ReadError(f"damaged header at byte {archive.offset}")

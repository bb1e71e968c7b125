"""Tar bytes that depend on nothing but names and contents.

A segment is a run of members without the zeros that end an archive, so segments laid one after the other, plus
`tar_trailer`, are an archive: that is how parts become a shard without being read again.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO

TAR_BLOCK = tarfile.BLOCKSIZE  # 512 bytes


def tar_segment(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Members as USTAR, in the order given: mtime 0, owner 0:0, mode 0644. ValueError for a name USTAR cannot hold."""
    out = bytearray()
    for name, data in members:
        info = tarfile.TarInfo(name)  # its defaults: a plain file, mode 0644, uid = gid = mtime = 0, no owner names
        info.size = len(data)
        out += info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
        out += data
        out += bytes(-len(data) % TAR_BLOCK)
    return bytes(out)


def tar_trailer(size: int) -> bytes:
    """What ends an archive of `size` segment bytes: two zero blocks, and zeros up to tar's customary record."""
    end = size + 2 * TAR_BLOCK
    return bytes(end - size + -end % tarfile.RECORDSIZE)


def tar_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of an archive or a segment. Raises tarfile.ReadError where it is damaged."""
    return tar_stream(io.BytesIO(data), len(data))


def tar_stream(file: IO[bytes], most: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the members of a tar file, one at a time. A member is a plain file as `tar_segment` writes
    it, of at most `most` bytes: tarfile would also read links, sparse files that are as long as they say, and headers
    that name further headers. Raises tarfile.ReadError where the file holds anything else."""
    while header := file.read(TAR_BLOCK):
        if not header.strip(b"\0"):
            break
        try:
            info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeError) as error:
            raise tarfile.ReadError(f"damaged header at byte {file.tell() - len(header)} ({error})") from None
        if info.type != tarfile.REGTYPE or not 0 <= info.size <= most:
            raise tarfile.ReadError(f"{info.name!r} is no plain file of at most {most:,} bytes")
        content, padding = file.read(info.size), file.read(-info.size % TAR_BLOCK)
        if len(content) + len(padding) != info.size + -info.size % TAR_BLOCK:
            raise tarfile.ReadError(f"{info.name!r} ends before its {info.size:,} bytes")
        yield info.name, content
    rest = file.read(2 * tarfile.RECORDSIZE)
    if rest.strip(b"\0") or file.read(1):
        raise tarfile.ReadError(f"goes on after its end, at byte {file.tell() - len(rest)}")

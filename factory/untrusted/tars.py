"""Uncompressed tars of untrusted origin. A header may name any number of bytes, also a negative one, with which
Python's reader would fill the memory or run in a circle."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(path: Path, most: int) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """(a member, a function that reads its content), in order. Raises OSError; tarfile.TarError where the tar is
    damaged, or where a header, or a content that is read, is longer than `most` bytes."""
    with _Bounded(path, most) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if member.size < 0:
                raise tarfile.ReadError(f"{member.name[:100]!r} has {member.size} bytes")

            def content(member: tarfile.TarInfo = member) -> bytes:
                stream = tar.extractfile(member)
                return stream.read() if stream else b""

            yield member, content


class _Bounded(io.BufferedReader):
    """A file that refuses to read more than `most` bytes at once."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path))
        self.most = most

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= self.most:
            raise tarfile.ReadError(f"a header or a content of {size:,} bytes")
        return super().read(size)

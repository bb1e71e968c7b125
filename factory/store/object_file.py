"""An object of a data set opened as a file: a small one lies in memory whole, a large one is read block by block."""

from __future__ import annotations

import io
from typing import IO, Any

from factory.store.fs import Files

IN_MEMORY = 1 << 27  # bytes up to which an object is read at once
BUFFER = 1 << 22  # bytes of a larger one that are read at a time


class _Blocks(io.RawIOBase):
    """An object read from storage as asked for. If it is removed meanwhile, it ends there."""

    def __init__(self, files: Files, name: str, size: int) -> None:
        self.files, self.name, self.size, self.at = files, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.size - self.at)
        try:
            data = self.files.read(self.name, self.at, size) if size > 0 else b""
        except FileNotFoundError:
            return 0
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def open_object(files: Files, name: str, size: int) -> IO[bytes] | None:
    """The object, of which a listing says that it has `size` bytes; None where there is none now."""
    try:
        if size <= IN_MEMORY:
            return io.BytesIO(files.read(name))
        files.read(name, 0, 1)
    except FileNotFoundError:
        return None
    return io.BufferedReader(_Blocks(files, name, files.sizes().get(name, 0)), BUFFER)

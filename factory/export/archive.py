"""Reading and writing .npz archives that do not fit into memory: columns are written in chunks, headers are read alone,
and objects are never unpickled."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from factory.export import pickles
from factory.untrusted import arrays, inert

CHUNK = 1 << 20
SPARE, RATIO = 1 << 28, 8  # an archive may unpack to SPARE bytes plus RATIO times its own size


def column(shape: tuple[int, ...], dtype: np.dtype, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of an .npy file, given the array's bytes in chunks."""
    yield _header(shape, dtype)
    yield from chunks


def array(value: np.ndarray) -> Iterator[bytes]:
    """Yield the bytes of the array's .npy file."""
    return column(value.shape, value.dtype, [np.ascontiguousarray(value).tobytes()])


def plain(value: object) -> Iterator[bytes]:
    """Yield the bytes of an .npy file of plain data, which numpy loads as a 0-d array of objects."""
    yield _header((), np.dtype(object))
    yield from pickles.dump_object(value)


def zipped(members: Mapping[str, Iterable[bytes]]) -> Iterator[bytes]:
    """Yield the bytes of an archive of .npy members. They are not compressed and dated 1980, so that the same members
    always give the same bytes."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, chunks in members.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.create_system = 3
            with archive.open(info, "w", force_zip64=True) as out:
                for chunk in chunks:
                    out.write(chunk)
                    if sink.size >= CHUNK:
                        yield sink.take()
    yield sink.take()


class Npz(Mapping[str, Any]):
    """An .npz of untrusted origin: its arrays and, where `objects` are allowed, the plain data that it holds as
    pickles.

    `modules`: names of the modules that the pickles refer to. Raises ValueError or zipfile.BadZipFile when the archive
    is damaged or holds anything but arrays and plain data.
    """

    def __init__(self, path: Path | IO[bytes], objects: bool = False) -> None:
        self.file = open(path, "rb") if isinstance(path, Path) else path
        self.archive, self.objects = arrays.directory(self.file), objects
        self.left = SPARE + RATIO * self.file.seek(0, io.SEEK_END)  # bytes that may still be unpacked
        self.modules: set[str] = set()

    def __enter__(self) -> Npz:
        return self

    def __exit__(self, *error: object) -> None:
        self.archive.close()
        self.file.close()

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(".npy") for name in self.archive.namelist())

    def __len__(self) -> int:
        return len(self.archive.namelist())

    def __contains__(self, name: object) -> bool:
        return f"{name}.npy" in self.archive.NameToInfo

    def __getitem__(self, name: str) -> Any:
        with self.archive.open(f"{name}.npy") as file:
            head = arrays.header(arrays.start(file))
            if not head.dtype.hasobject:
                value = arrays.member(self.archive, name, arrays.ANY, self.left)
                self.left -= value.nbytes
                return value
            if not self.objects:
                raise ValueError(f"{name}: holds objects, which the loader refuses (it has no allow_pickle)")
            pickled = file.read(self.left + 1)
            if len(pickled) > self.left:
                raise ValueError(f"{name}: unpacks to far more than the file has")
            reader = inert.PickleReader(io.BytesIO(pickled))
            value = reader.load()
            self.modules |= reader.modules
            return value.item() if isinstance(value, np.ndarray) and not head.shape else value

    def shape(self, name: str) -> tuple[int, ...]:
        with self.archive.open(f"{name}.npy") as file:
            return _read_header(file)[0]

    def blocks(self, name: str, rows: int = 1000) -> Iterator[np.ndarray]:
        """Yield the array, `rows` rows at a time."""
        with self.archive.open(f"{name}.npy") as file:
            shape, dtype = _read_header(file)
            size = int(np.prod(shape[1:])) * dtype.itemsize
            while data := file.read(rows * size):
                yield np.frombuffer(data, dtype).reshape(-1, *shape[1:])

    def dtype(self, name: str) -> np.dtype:
        with self.archive.open(f"{name}.npy") as file:
            return _read_header(file)[1]


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def _read_header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    head = arrays.header(arrays.start(file))
    return head.shape, head.dtype


class _Sink(io.RawIOBase):
    """A file in memory; `take` returns and forgets what was written to it."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.kept.append(bytes(data))
        self.size += len(data)
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self.kept)
        self.kept, self.size = [], 0
        return taken

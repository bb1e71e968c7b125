"""Files of `torch.save`, of both layouts, read by `inert`: tensors and plain values come out, nothing in them is run.

PyTorch's own restricted reader refuses a whole file for what stands beside the weights: a trainer's callbacks and
settings, paths, numpy's numbers, pickles of protocol 4. Here such objects become values or placeholders.

The layouts, as torch/serialization.py writes them. Since PyTorch 1.6: an uncompressed zip with ROOT/data.pkl and each
storage as ROOT/data/KEY. Before: one pickle each of a magic number, a version, the machine, the value and the keys of
the storages, then each storage as its number of elements (int64) and its bytes.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from factory.untrusted import arrays, inert
from factory.untrusted.inert_values import Name, Thing, Vocabulary
from factory.weights.files import MAGIC

UNTYPED = ("UntypedStorage", "TypedStorage")  # storages of bytes; the tensors on them say their types
ELEMENTS = {  # class of a storage -> the type of its elements
    f"{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
        "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
        "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
    }.items()
}  # fmt: skip
ReadStorage = Callable[[str, torch.dtype, int], torch.Tensor]  # key, type and number of elements -> a flat tensor


class NotWeights(ValueError):
    """The file is whole, but of another kind; the message says which."""


def load(path: Path, numbers: bool = True) -> Any:
    """The value that was saved, its tensors on the CPU, or with `numbers` False on the device `meta`: then no storage
    is read, and only the pickle and the storages' lengths are checked.

    Raises NotWeights, untrusted.Unsafe, or whatever error damage leads to.
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return _old(file, numbers)
        with arrays.directory(file) as archive:
            return _zipped(archive, path.stat().st_size, numbers)


def _zipped(archive: zipfile.ZipFile, size: int, numbers: bool) -> Any:
    names = archive.namelist()
    root = next((name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")), None)
    if root is None:
        raise NotWeights("a zip that torch.save has not written")
    if f"{root}/constants.pkl" in names:
        raise NotWeights("a TorchScript program, not weights; save its state_dict() with torch.save")
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise NotWeights("a compressed zip, which torch.save never writes")
    if sum(info.file_size for info in archive.infolist()) > size:
        raise NotWeights("a zip whose members overlap, which torch.save never writes")
    if f"{root}/byteorder" in names and archive.read(f"{root}/byteorder").strip() == b"big":
        raise NotWeights("of a big-endian machine; save it again on another")

    def read(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        length = archive.getinfo(f"{root}/data/{key}").file_size
        if length != count * dtype.itemsize:
            raise ValueError(f"storage {key} has {length} bytes, not {count * dtype.itemsize}")
        if not numbers:
            return torch.empty(count, dtype=dtype, device="meta")
        data = bytearray(archive.read(f"{root}/data/{key}"))
        return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)

    with archive.open(f"{root}/data.pkl") as file:
        return inert.load(file, VOCABULARY, _storages(read))  # type: ignore[arg-type]  # reads as a file does


def _old(file: BinaryIO, numbers: bool) -> Any:
    if inert.load(file) != MAGIC:
        raise NotWeights("a pickle that torch.save has not written")
    inert.load(file), inert.load(file)  # the version, and the sizes of C's types on that machine
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    storages: dict[str, torch.Tensor] = {}

    def reserve(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        if count * dtype.itemsize > size:
            raise ValueError(f"storage {key} is larger than the file")
        storages[key] = torch.empty(count, dtype=dtype, device="cpu" if numbers else "meta")
        return storages[key]

    value = inert.load(file, VOCABULARY, _storages(reserve))
    for key in inert.load(file):  # the bytes come after the pickle; the tensors are views of the storages already
        storage = storages[key]
        count = file.read(8)
        if len(count) != 8 or int.from_bytes(count, "little") != len(storage):
            raise ValueError(f"storage {key} has another number of elements")
        if storage.is_meta:
            if file.seek(storage.nbytes, 1) > size:
                raise EOFError(f"storage {key} is cut off")
            continue
        data = file.read(storage.nbytes)
        if len(data) != storage.nbytes:
            raise EOFError(f"storage {key} is cut off")
        if data:
            storage.copy_(torch.frombuffer(bytearray(data), dtype=storage.dtype))
    return value


def _storages(read: ReadStorage) -> Callable[[Any], torch.Tensor]:
    """The reader of persistent ids ('storage', kind, key, device, number of elements, ...): each storage is read once,
    because tensors may share one."""
    known: dict[str, torch.Tensor] = {}

    def storage(pid: Any) -> torch.Tensor:
        word, kind, key, _, count, *rest = pid
        if word != "storage" or not isinstance(kind, Name) or any(part is not None for part in rest):
            raise ValueError("a storage is described in another way")
        dtype = torch.uint8 if kind.name in UNTYPED else ELEMENTS[kind.name]
        if key not in known:
            known[key] = read(str(key), dtype, int(count))
        return known[key]

    return storage


def _tensor(thing: Thing) -> torch.Tensor:
    """The tensor of a recorded call of _rebuild_tensor_v2(storage, offset, size, stride, ...). v3 names the type of the
    elements at the end. Offset, size and stride are checked, because as_strided reads whatever memory they lead to."""
    storage, offset, size, stride, *rest = thing.args
    if thing.name.name.endswith("v3"):
        dtype = getattr(torch, rest[-1].name) if isinstance(rest[-1], Name) and rest[-1].module == "torch" else None
        if not isinstance(dtype, torch.dtype):
            raise ValueError("a tensor of an unknown type")
        storage = storage.view(dtype)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a tensor of no shape")
    end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if math.prod(size) and end > len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    return storage.as_strided(size, stride, offset)


def _first(thing: Thing) -> Any:
    return thing.args[0]


VOCABULARY: Vocabulary = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch", "Size"): _first,
    ("torch", "device"): _first,
}

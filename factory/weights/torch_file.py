"""Files of `torch.save`, both layouts, read by `inert`: tensors and plain values come out, nothing in them is run.

PyTorch's own restricted reader refuses whole files for what stands beside the weights: callbacks and settings of a
trainer, paths, numpy's numbers, pickles of protocol 4. Here these become placeholders.

The layouts, as torch/serialization.py writes them: since PyTorch 1.6 a zip, uncompressed, with ROOT/data.pkl and each
storage as ROOT/data/KEY. Before, one pickle each of a magic number, a version, the machine, the value and the storages'
keys, then each storage as its number of elements (int64) and its bytes.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from factory.untrusted import arrays, inert
from factory.untrusted.inert import Name, Thing
from factory.weights.files import MAGIC

BYTES = ("UntypedStorage", "TypedStorage")
STORAGES = {
    f"{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
        "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
        "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
    }.items()
}  # fmt: skip
Read = Callable[[str, torch.dtype, int], torch.Tensor]


class NotWeights(ValueError):
    """The file is whole, but of another kind; the message says which."""


def load(path: Path) -> Any:
    """The value that was saved, its tensors on the CPU. Raises NotWeights, inert.Unsafe, or what damage leads to."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return _old(file)
        with arrays.directory(file) as archive:
            return _zipped(archive, path.stat().st_size)


def _zipped(archive: zipfile.ZipFile, size: int) -> Any:
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
        data = archive.read(f"{root}/data/{key}")
        if len(data) != count * dtype.itemsize:
            raise ValueError(f"storage {key} has {len(data)} bytes, not {count * dtype.itemsize}")
        return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)

    with archive.open(f"{root}/data.pkl") as file:
        return inert.load(file, WORDS, _storages(read))  # type: ignore[arg-type]  # reads as a file does


def _old(file: BinaryIO) -> Any:
    if inert.load(file) != MAGIC:
        raise NotWeights("a pickle that torch.save has not written")
    inert.load(file), inert.load(file)  # its version, and the sizes of C's types on that machine
    empty: dict[str, torch.Tensor] = {}

    def reserve(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        here = file.tell()
        if count * dtype.itemsize > file.seek(0, 2):
            raise ValueError(f"storage {key} is larger than the file")
        file.seek(here)
        empty[key] = torch.empty(count, dtype=dtype)
        return empty[key]

    value = inert.load(file, WORDS, _storages(reserve))
    for key in inert.load(file):  # the bytes come after the pickle; tensors already look at them
        storage = empty[key]
        if int.from_bytes(file.read(8), "little") != len(storage):
            raise ValueError(f"storage {key} has another number of elements")
        data = file.read(len(storage) * storage.element_size())
        if len(data) != storage.nbytes:
            raise EOFError(f"storage {key} is cut off")
        if data:
            storage.copy_(torch.frombuffer(bytearray(data), dtype=storage.dtype))
    return value


def _storages(read: Read) -> Callable[[Any], torch.Tensor]:
    """The reader of persistent ids ('storage', kind, key, device, number of elements, ...), each storage read once."""
    known: dict[str, torch.Tensor] = {}

    def storage(pid: Any) -> torch.Tensor:
        word, kind, key, _, count, *rest = pid
        if word != "storage" or not isinstance(kind, Name) or any(part is not None for part in rest):
            raise ValueError("a storage is described in another way")
        dtype = torch.uint8 if kind.name in BYTES else STORAGES[kind.name]
        if key not in known:
            known[key] = read(str(key), dtype, int(count))
        return known[key]

    return storage


def _tensor(thing: Thing) -> torch.Tensor:
    """_rebuild_tensor_v2(storage, offset, size, stride, ...), and in v3 the type of its elements at the end."""
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


WORDS: inert.Words = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch", "Size"): _first,
    ("torch", "device"): _first,
}

"""A single file of a model, looked at without loading it: is it what its name says? Reads headers, never gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory.errors import UserError, first_line
from factory.untrusted import Unreadable, arrays, text

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a `torch.save` file before PyTorch 1.6
POINTER = b"version https://git-lfs"  # the first bytes of a Git LFS pointer, a text of some 130 bytes
HEADER = 100 * 2**20  # bytes; the longest header that safetensors itself allows
HEADER_VALUES = 2_000_000  # values in a header; a tensor takes some ten
CONFIG_BYTES, CONFIG_VALUES = 1 << 24, 1_000_000  # of one configuration: more than any has


def check_file(path: Path, label: str) -> None:
    """UserError, which begins with `label`, for a Git LFS pointer and for a .safetensors file that is cut short."""
    with open(path, "rb") as file:
        if file.read(len(POINTER)) == POINTER:
            says = "is a Git LFS pointer, a text in place of the file"
            raise UserError(f"{label}: {path.name} {says}; run `git lfs pull` in its folder")
    if path.suffix == ".safetensors":
        tensor_shapes(path, label)


def tensor_shapes(path: Path, label: str) -> dict[str, list[int]]:
    """Name of each tensor in a .safetensors file -> its shape, from the header. UserError: damaged or cut short."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER, size - 8):
            raise UserError(f"{label}: {path.name} is damaged or cut short ({size:,} bytes); fetch it again")
        try:
            values = text.loads(file.read(length), HEADER, HEADER_VALUES)
            header = {name: entry for name, entry in values.items() if name != "__metadata__"}
            whole = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
            shapes = {name: [int(side) for side in entry["shape"]] for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
            raise UserError(f"{label}: {path.name} is damaged (no header of safetensors); fetch it again") from None
    if size != whole:
        says = f"cut short: {size:,} of {whole:,} bytes" if size < whole else "damaged"
        raise UserError(f"{label}: {path.name} is {says}; fetch it again")
    return shapes


def is_torch_file(path: Path) -> bool:
    """Whether torch.save wrote the file, by its first bytes and the names in its zip; False for a damaged zip."""
    try:
        return any(name.endswith("/data.pkl") for name in arrays.names(path))
    except Unreadable:
        with path.open("rb") as file:
            return MAGIC.to_bytes(10, "little") in file.read(32)


def read_json(path: Path, label: str) -> dict[str, Any]:
    """The mapping in a configuration file. UserError, which begins with `label`: the file is not there, holds no
    mapping, or is far longer than any configuration."""
    try:  # infinity is allowed: schedulers write -Infinity
        values = text.loads(text.read_text(path, CONFIG_BYTES), CONFIG_BYTES, CONFIG_VALUES, finite=False)
    except OSError as error:
        raise UserError(f"{label}: {path.name} cannot be read ({error.strerror or error}); fetch it again") from error
    except ValueError as error:
        raise UserError(f"{label}: {path} is damaged ({first_line(error)}); fetch it again") from error
    if not isinstance(values, dict):
        raise UserError(f"{label}: {path} is damaged (no mapping); fetch it again")
    return values

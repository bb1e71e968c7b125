"""Weights as files, looked at without loading them: is the file what its name says, and which of a folder's files will
be taken. Reads headers, never gigabytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.untrusted import Unreadable, arrays, text

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a `torch.save` file before PyTorch 1.6
POINTER = b"version https://git-lfs"
SMALL = 1024  # bytes; a Git LFS pointer takes some 130
TEXTS = (".json", ".txt", ".model")  # of tokenizers and configs
LONGEST = 1 << 26  # bytes of one of them, which libraries read whole; the largest tokenizers have half of it
HEADER = 100 * 2**20  # bytes; what safetensors itself allows
VALUES = 2_000_000  # in a header; some ten for each tensor
CONFIG, CONFIG_VALUES = 1 << 24, 1_000_000  # bytes and values of one json file: more than any configuration has
# NAME[.VARIANT][-00001-of-00002].safetensors, as diffusers and transformers write them
_NAME = re.compile(r"(diffusion_pytorch_model|model)(?:\.([^.]+?))?(?:-(\d+)-of-(\d+))?\.safetensors")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
CONVERT = (
    "python -c \"from diffusers import DiffusionPipeline as P; P.from_pretrained('FOLDER', "
    "use_safetensors=False).save_pretrained('NEW')\""
)


def check_file(path: Path, where: str) -> None:
    """UserError, which begins with `where`, for a Git LFS pointer and for a .safetensors file that is cut short."""
    with open(path, "rb") as file:
        if file.read(len(POINTER)) == POINTER:
            says = "is a Git LFS pointer, a text in place of the file"
            raise UserError(f"{where}: {path.name} {says}; run `git lfs pull` in its folder")
    if path.suffix == ".safetensors":
        shapes(path, where)


def shapes(path: Path, where: str) -> dict[str, list[int]]:
    """Name of each tensor in a .safetensors file -> its shape, from the header. UserError: damaged or cut short."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER, size - 8):
            raise UserError(f"{where}: {path.name} is damaged or cut short ({size:,} bytes); fetch it again")
        try:
            values = text.loads(file.read(length), HEADER, VALUES)
            header = {name: entry for name, entry in values.items() if name != "__metadata__"}
            whole = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
            found = {name: [int(side) for side in entry["shape"]] for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
            raise UserError(f"{where}: {path.name} is damaged (no header of safetensors); fetch it again") from None
    if size != whole:
        says = f"cut short: {size:,} of {whole:,} bytes" if size < whole else "damaged"
        raise UserError(f"{where}: {path.name} is {says}; fetch it again")
    return found


def read_json(path: Path, where: str) -> dict[str, Any]:
    """UserError, which begins with `where`: not there, no mapping in it, or far more than a configuration."""
    try:
        values = text.loads(text.read(path, CONFIG), CONFIG, CONFIG_VALUES, finite=False)  # schedulers write -Infinity
    except OSError as error:
        raise UserError(f"{where}: {path.name} cannot be read ({error.strerror or error}); fetch it again") from error
    except ValueError as error:
        raise UserError(f"{where}: {path} is damaged ({error}); fetch it again") from error
    if not isinstance(values, dict):
        raise UserError(f"{where}: {path} is damaged (no mapping); fetch it again")
    return values


def is_torch_file(path: Path) -> bool:
    """Whether torch.save wrote the file, by its first bytes; a damaged zip counts as none."""
    try:
        return any(name.endswith("/data.pkl") for name in arrays.names(path))
    except Unreadable:
        with path.open("rb") as file:
            return MAGIC.to_bytes(10, "little") in file.read(32)


def check_pointers(folder: Path, where: str, endings: tuple[str, ...] = TEXTS) -> None:
    """UserError for the first file below the folder that is a Git LFS pointer and has one of the endings (none given:
    any), or that has one of them and is too long to be read. Weights are left to `choose`: those that a model does not
    need may well be pointers."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.name.endswith(endings or ("",)) or not path.is_file():
            continue
        size = path.stat().st_size
        if size <= SMALL:
            check_file(path, where)
        elif endings and size > LONGEST:
            raise UserError(f"{where}: {path.name} has {size:,} bytes, more than any such file; fetch it again")


def choose(folder: Path, where: str, variant: str | None) -> str | None:
    """The variant of the folder's weights that will be loaded: the job's where it is there, else the plain ones (None).

    UserError, which begins with `where`: neither is there, a shard is missing, or a file is damaged. It names the
    variants that are there, and what to do where there are only pickles.
    """
    there: dict[str | None, list[re.Match[str]]] = {}
    names = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    for match in filter(None, map(_NAME.fullmatch, names)):
        there.setdefault(match[2], []).append(match)
    chosen = variant if variant in there else None
    if chosen not in there:
        variants = sorted(filter(None, there))
        if variants:
            raise UserError(f"{where}: holds only variant {', '.join(variants)}; write `variant: {variants[0]}`")
        pickles = [name for name in names if name.endswith(PICKLES)]
        if pickles:
            says = f"holds only {pickles[0]}, a pickle, which is never opened here; convert it where you trust it"
            raise UserError(f"{where}: {says}: {CONVERT}")
        raise UserError(f"{where}: no weights in it (.safetensors); fetch it again")
    for match in there[chosen]:
        check_file(folder / match.string, where)
    if shards := [match for match in there[chosen] if match[4]]:
        missing = {f"{i:05d}" for i in range(1, int(shards[0][4]) + 1)} - {match[3] for match in shards}
        if missing:
            raise UserError(f"{where}: lacks {len(missing)} of {int(shards[0][4])} shards; fetch it again")
    return chosen

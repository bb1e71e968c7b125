"""A folder of weights as diffusers and transformers write it: which of its files will be loaded, and whether they are
all there. Nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from factory.errors import UserError
from factory.weights.files import check_file

TEXTS = (".json", ".txt", ".model")  # endings of the files of tokenizers and configurations
LONGEST = 1 << 26  # bytes of one such file, which libraries read whole; the largest tokenizers take half of it
SMALL = 1024  # bytes; a Git LFS pointer takes some 130
# NAME[.VARIANT][-00001-of-00002].safetensors, as diffusers and transformers write them
_NAME = re.compile(r"(diffusion_pytorch_model|model)(?:\.([^.]+?))?(?:-(\d+)-of-(\d+))?\.safetensors")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
CONVERT = (
    "python -c \"from diffusers import DiffusionPipeline as P; P.from_pretrained('FOLDER', "
    "use_safetensors=False).save_pretrained('NEW')\""
)


def check_pointers(folder: Path, label: str, endings: tuple[str, ...] = TEXTS) -> None:
    """UserError, which begins with `label`, for the first file below the folder that has one of the endings (none
    given: any file) and is a Git LFS pointer, or has one of the given endings and is too long to be read. Files of
    weights are left to `choose_variant`: those that a model does not need may well be pointers."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.name.endswith(endings or ("",)) or not path.is_file():
            continue
        size = path.stat().st_size
        if size <= SMALL:
            check_file(path, label)
        elif endings and size > LONGEST:
            raise UserError(f"{label}: {path.name} has {size:,} bytes, more than any such file; fetch it again")


def choose_variant(folder: Path, label: str, variant: str | None) -> str | None:
    """The variant of the folder's weights that will be loaded: the job's where the folder has it, else the plain files
    (None).

    UserError, which begins with `label`: neither is there, a shard of the weights is missing, or a file is damaged. It
    names the variants that are there, and says what to do where there are only pickles.
    """
    by_variant: dict[str | None, list[re.Match[str]]] = {}
    names = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    for match in filter(None, map(_NAME.fullmatch, names)):
        by_variant.setdefault(match[2], []).append(match)
    chosen = variant if variant in by_variant else None
    if chosen not in by_variant:
        variants = sorted(filter(None, by_variant))
        if variants:
            raise UserError(f"{label}: holds only variant {', '.join(variants)}; write `variant: {variants[0]}`")
        pickles = [name for name in names if name.endswith(PICKLES)]
        if pickles:
            says = f"holds only {pickles[0]}, a pickle, which is never opened here; convert it where you trust it"
            raise UserError(f"{label}: {says}: {CONVERT}")
        raise UserError(f"{label}: no weights in it (.safetensors); fetch it again")
    for match in by_variant[chosen]:
        check_file(folder / match.string, label)
    if shards := [match for match in by_variant[chosen] if match[4]]:
        missing = {f"{i:05d}" for i in range(1, int(shards[0][4]) + 1)} - {match[3] for match in shards}
        if missing:
            raise UserError(f"{label}: lacks {len(missing)} of {int(shards[0][4])} shards; fetch it again")
    return chosen

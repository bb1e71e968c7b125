"""Other people's weights, opened without running them: arrays, tensors and plain values come out, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.untrusted import Unreadable, arrays, inert
from factory.weights.files import POINTER
from factory.weights.networks import first_line

LARGEST = 1 << 31  # bytes: SMPL with 300 shapes takes an eighth of it


def load_arrays(path: Path, what: str, words: inert.Words | None = None) -> Any:
    """The values of a pickle of arrays (also of Python 2). words: see `inert.load`.

    UserError when it is damaged, is longer than LARGEST, or calls a function that no arrays need; nothing of it has
    been run then.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) > LARGEST:
                raise Unreadable(f"longer than {LARGEST:,} bytes")
            file.seek(0)
            return inert.load(file, words)
    except inert.Unsafe as error:
        raise UserError(f"{what} {path} holds more than arrays (it {error}) and is not opened") from error
    except Exception as error:  # a damaged pickle fails in any way
        raise _damaged(path, what, "no pickle", error) from error


def load_checkpoint(path: Path, what: str) -> Any:
    """The values of a `torch.save` file, on the CPU. Objects of other classes (of a trainer, say) are placeholders.

    UserError when it is damaged, no such file, or calls a function that no tensors need.
    """
    from factory.weights import torch_file  # imports PyTorch, which commands without a model need not wait for

    try:
        return torch_file.load(path)
    except inert.Unsafe as error:
        raise UserError(f"{what} {path} holds more than tensors (it {error}) and is not opened") from error
    except torch_file.NotWeights as error:
        raise UserError(f"{what} {path} is {error}") from error
    except Exception as error:  # a damaged file fails in any way
        raise _damaged(path, what, "no PyTorch file", error) from error


def load_npz(path: Path, what: str, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays of numbers that an .npz holds. UserError when it is damaged, or when they are more than
    LARGEST bytes altogether."""
    try:
        return dict(arrays.npz(path, dict.fromkeys(names, arrays.NUMBERS), LARGEST))
    except Unreadable as error:
        raise _damaged(path, what, "no .npz", error) from error


def require_finite(weights: Mapping[str, Any], where: str) -> None:
    """UserError, which begins with `where`, for the first array or tensor that holds NaN or infinity: the network would
    answer every image with NaN."""
    for name, value in weights.items():
        finite = np.isfinite(value) if isinstance(value, np.ndarray) else value.isfinite()
        if not finite.all():
            raise UserError(f"{where}: {name} is not finite everywhere (NaN or infinity); fetch it again")


def _damaged(path: Path, what: str, expected: str, error: Exception) -> UserError:
    """What the file is instead, where its first bytes tell."""
    try:
        with path.open("rb") as file:
            head = file.read(256).lstrip()
    except OSError as reason:
        return UserError(f"{what} {path} cannot be read ({reason.strerror})")
    if not head:
        return UserError(f"{what} {path} is empty; fetch it again")
    if head.startswith(POINTER):
        return UserError(f"{what} {path} is a Git LFS pointer, not the file; run git lfs pull in its checkout")
    if head[:15].lower().startswith((b"<!doctype html", b"<html")):
        return UserError(f"{what} {path} is a web page (of a login, perhaps), not the file; fetch it again")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return UserError(f"{what} {path} is a safetensors file; give the file in the form that is published")
    return UserError(f"{what} {path} is damaged or {expected} ({first_line(error)}); fetch it again")

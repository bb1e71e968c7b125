"""Pickles, checkpoints and .npz files of weights: arrays, tensors and plain values come out, and nothing in them is
run.

Every function turns what is wrong with a file into one line of UserError.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError, first_line
from factory.untrusted import Unreadable, Unsafe, arrays, inert
from factory.untrusted.inert_values import Vocabulary
from factory.weights.files import POINTER

LARGEST = 1 << 31  # bytes of one file; SMPL with 300 shapes takes an eighth of it


def load_arrays(path: Path, what: str, vocabulary: Vocabulary | None = None) -> Any:
    """The values of a pickle of arrays, also one of Python 2. what: the model's kind, for messages; vocabulary: see
    `inert.load`.

    UserError when the pickle is damaged, is longer than LARGEST bytes, or calls a function that no arrays need.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) > LARGEST:
                raise Unreadable(f"longer than {LARGEST:,} bytes")
            file.seek(0)
            return inert.load(file, vocabulary)
    except Unsafe as error:
        raise UserError(f"{what} {path} holds more than arrays (it {error}) and is not opened") from error
    except Exception as error:  # a damaged pickle fails in any way
        raise _damaged(path, what, "no pickle", error) from error


def load_checkpoint(path: Path, what: str, numbers: bool = True) -> Any:
    """The values of a `torch.save` file, its tensors on the CPU, or with `numbers` False on the device `meta`: then
    they have shapes and types, and their numbers are not read. Objects of other classes (a trainer's) are placeholders.
    what: the model's kind, for messages.

    UserError when the file is damaged, none of torch.save, or calls a function that no tensors need.
    """
    from factory.weights import torch_file  # imports PyTorch, which commands without a model need not wait for

    try:
        return torch_file.load(path, numbers)
    except Unsafe as error:
        raise UserError(f"{what} {path} holds more than tensors (it {error}) and is not opened") from error
    except torch_file.NotWeights as error:
        raise UserError(f"{what} {path} is {error}") from error
    except Exception as error:  # a damaged file fails in any way
        raise _damaged(path, what, "no PyTorch file", error) from error


def load_npz(path: Path, what: str, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Name -> array, of those of the named arrays of numbers that the .npz holds. what: the model's kind, for messages.
    UserError when the file is damaged, or the arrays take more than LARGEST bytes altogether."""
    try:
        return dict(arrays.npz(path, dict.fromkeys(names, arrays.NUMBERS), LARGEST))
    except Unreadable as error:
        raise _damaged(path, what, "no .npz", error) from error


def require_finite(weights: Mapping[str, Any], label: str) -> None:
    """UserError, which begins with `label`, for the first array or tensor that holds NaN or infinity. With such a one
    the network would answer every image with NaN."""
    for name, value in weights.items():
        finite = np.isfinite(value) if isinstance(value, np.ndarray) else value.isfinite()
        if not finite.all():
            raise UserError(f"{label}: {name} is not finite everywhere (NaN or infinity); fetch it again")


def _damaged(path: Path, what: str, expected: str, error: Exception) -> UserError:
    """The error for a file that does not open: what it is instead, where its first bytes tell, else `expected`."""
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

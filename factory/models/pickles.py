"""Other people's pickles, opened without running them: arrays, tensors and plain values come out, nothing else.

A pickle names functions to call. Here only the constructors of arrays and containers are called; a name that is not on
the list is refused, or stood in for by what holds its state and does nothing.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError

_PLAIN = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}
_COPYREG = {("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")}
_OBJECT = {("__builtin__", "object"), ("builtins", "object")}
_SET = {("__builtin__", "set"), ("builtins", "set")}


class Shell:
    """Stands in for an object whose class is not loaded; `state` is what it was to be restored from."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def load_arrays(path: Path, what: str, shells: Mapping[tuple[str, str], type[Shell]] | None = None) -> Any:
    """The values of a pickle of arrays (also of Python 2). shells: (module, name) -> what stands in for that class.

    UserError when it is truncated or names anything else; nothing of it has been run then.
    """
    try:
        return _Restricted(io.BytesIO(path.read_bytes()), shells or {}).load()
    except _Refused as error:
        raise UserError(f"{what} {path} holds more than arrays ({error}) and is not opened") from error
    except Exception as error:  # a damaged pickle fails in any way
        raise UserError(f"{what} {path} is damaged or no pickle ({_first(error)}); fetch it again") from error


def load_checkpoint(path: Path, what: str) -> Any:
    """The values of a `torch.save` file, on the CPU. Objects of other classes (of a trainer, say) become plain dicts:
    PyTorch's own restricted reader fills no others.

    UserError when it is truncated or no such file.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    strange: list[str] = []
    try:
        strange = get_unsafe_globals_in_checkpoint(path) if zipfile.is_zipfile(path) else []
        with safe_globals([(OrderedDict, name) for name in strange]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in any way
        if strange or "Unsupported global" in str(error):
            names = f" ({', '.join(strange)})" if strange else ""
            raise UserError(f"{what} {path} holds more than tensors{names} and is not opened") from error
        raise UserError(f"{what} {path} is damaged or no PyTorch file ({_first(error)}); fetch it again") from error


def load_npz(path: Path, what: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz but for those of objects, which would need a pickle. UserError when it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if isinstance(stored, np.ndarray):
                raise UserError(f"{what} {path} is one array; an .npz of several is expected")
            return {name: stored[name] for name in stored.files if _readable(stored, name)}
    except UserError:
        raise
    except Exception as error:  # numpy, zipfile and zlib have exceptions of their own
        raise UserError(f"{what} {path} is damaged or no .npz ({_first(error)}); fetch it again") from error


def _readable(stored: Any, name: str) -> bool:
    try:
        return stored[name].dtype != object
    except ValueError as error:
        if "allow_pickle" in str(error):
            return False
        raise


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Refused(Exception):
    pass


class _Restricted(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, shells: Mapping[tuple[str, str], type[Shell]]) -> None:
        super().__init__(file, encoding="latin1")
        self.shells = shells

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key in self.shells:
            return self.shells[key]
        if key in _COPYREG:
            return _reconstructor
        if key in _OBJECT:
            return object
        if key in _SET:
            return set
        if key not in _PLAIN:
            raise _Refused(f"{module}.{name}")
        if module.startswith("numpy.core"):
            module = module.replace("core", "_core", 1)
        return super().find_class(module, name)


def _reconstructor(cls: type, base: type, state: Any) -> Any:
    """What `copyreg` does for objects of protocol 0 and 1, for stand-ins only."""
    if not (isinstance(cls, type) and issubclass(cls, Shell)):
        raise _Refused(f"an object of {cls}")
    return cls()

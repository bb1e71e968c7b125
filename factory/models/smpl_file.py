"""SMPL's files as plain arrays: an .npz, or the official .pkl converted once into one.

The official pickles hold scipy matrices and chumpy arrays. Neither package is needed: stand-ins keep the state of those
objects, and the arrays are read out of it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.models.pickles import Shell, load_arrays, load_npz

WHAT = "body model"
VERTICES, JOINTS = 6890, 24
EXTRA = "joint_regressor_extra"  # SPIN's nine further joints
EXTRA_FILE = "J_regressor_extra.npy"
SHAPES: dict[str, tuple[int | str, ...]] = {
    "v_template": (VERTICES, 3),
    "shapedirs": (VERTICES, 3, "10 or more"),
    "posedirs": (VERTICES, 3, 9 * (JOINTS - 1)),
    "weights": (VERTICES, JOINTS),
    "J_regressor": (JOINTS, VERTICES),
    "kintree_table": (2, JOINTS),
    "f": (13776, 3),
    EXTRA: (9, VERTICES),
}
INTEGERS = ("kintree_table", "f")
GET = "get it from https://smpl.is.tue.mpg.de after registration"


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of SHAPES, float32 and int64. The extra regressor may lie in the file or beside it (EXTRA_FILE).

    UserError for what is missing, damaged or of another shape: one line that says how to get it.
    """
    if not path.is_file():
        raise UserError(f"{WHAT} not found: {path}; give SMPL_NEUTRAL.pkl or .npz ({GET}), or starter:body")
    stored = _converted(path) if path.suffix == ".pkl" else load_npz(path, WHAT)
    if EXTRA not in stored:
        stored = {**stored, EXTRA: _extra(path)}
    missing = [name for name in SHAPES if name not in stored]
    if missing:
        raise UserError(f"{WHAT} {path} lacks {', '.join(missing)}; it is not a file of SMPL: {GET}")
    for name, shape in SHAPES.items():
        found = stored[name].shape
        fits = len(found) == len(shape) and all(
            n == want if isinstance(want, int) else n >= 10 for n, want in zip(found, shape, strict=True)
        )
        if not fits:
            expected = ", ".join(map(str, shape))
            raise UserError(f"{WHAT} {path}: {name} is {found}, not ({expected}); SMPL is expected, not SMPL-H or X")
    return {name: stored[name].astype(np.int64 if name in INTEGERS else np.float32) for name in SHAPES}


def _extra(path: Path) -> np.ndarray:
    file = path.with_name(EXTRA_FILE)
    if not file.is_file():
        raise UserError(f"{WHAT} {path}: SPIN's {EXTRA_FILE} must lie beside it (it comes with SPIN's fetch_data.sh)")
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{file} is damaged ({error}); fetch it again with SPIN's fetch_data.sh") from error


def _converted(path: Path) -> dict[str, np.ndarray]:
    """The pickle's arrays, by way of an .npz in the user's cache: the next process need not open the pickle."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "factory" / f"smpl-{digest}.npz"
    if cache.is_file():
        return load_npz(cache, WHAT)
    arrays = convert(path)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".tmp", delete=False) as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(file.name, cache)  # whole or not at all, also with several workers
    except OSError:
        pass  # a home that cannot be written costs a second per process
    return arrays


def convert(path: Path) -> dict[str, np.ndarray]:
    """The official .pkl of SMPL -> its arrays. Runs nothing of the file; UserError when it holds other objects."""
    stored = load_arrays(path, WHAT, {key: _CLASSES[key[1]] for key in _NAMES})
    if not isinstance(stored, dict):
        raise UserError(f"{WHAT} {path} holds no dict of arrays; {GET}")
    wanted = [name for name in SHAPES if name in stored]
    try:
        return {name: np.asarray(_dense(stored[name])) for name in wanted}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{WHAT} {path} is not laid out as SMPL's ({type(error).__name__}: {error}); {GET}") from error


class _Chumpy(Shell):
    """chumpy.Ch: its array is `x` of its state."""

    def dense(self) -> np.ndarray:
        return np.asarray(self.state["x"])


class _Select(Shell):
    """chumpy.reordering.Select: items `idxs` of `a`, in the shape preferred."""

    def dense(self) -> np.ndarray:
        picked = np.asarray(_dense(self.state["a"])).ravel()[np.asarray(self.state["idxs"])]
        return picked.reshape(self.state.get("preferred_shape", picked.shape))


class _Sparse(Shell):
    """A scipy matrix by columns."""

    def dense(self) -> np.ndarray:
        from scipy.sparse import csc_matrix

        state = self.state
        shape = state.get("_shape", state.get("shape"))
        return csc_matrix((state["data"], state["indices"], state["indptr"]), shape=shape).toarray()


_CLASSES: dict[str, type[Shell]] = {"Ch": _Chumpy, "Select": _Select, "csc_matrix": _Sparse}
_NAMES = [
    ("chumpy.ch", "Ch"),
    ("chumpy.reordering", "Select"),
    ("scipy.sparse.csc", "csc_matrix"),
    ("scipy.sparse._csc", "csc_matrix"),
]


def _dense(value: Any) -> Any:
    return value.dense() if isinstance(value, _Chumpy | _Select | _Sparse) else value

"""The files of the body model SMPL as plain arrays: an .npz, or the official .pkl, which is converted once into one.

The official pickle holds scipy matrices and chumpy arrays. chumpy is not needed and nothing of the pickle is run: the
arrays are read out of the states of these objects.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.untrusted import Unreadable, arrays, text
from factory.untrusted.inert_values import Placeholder, Thing, Vocabulary
from factory.weights.catalogue import H36M_REGRESSOR, SMPL, SPIN
from factory.weights.files import is_torch_file
from factory.weights.pickles import LARGEST, load_arrays, load_npz, require_finite

WHAT = SMPL.title
VERTICES, JOINTS = 6890, 24
EXTRA = "joint_regressor_extra"  # SPIN's regressor of nine further joints, in a file of ours
EXTRA_FILE = SMPL.beside  # and beside SMPL's own
REGRESSED = (17, 14)  # rows of J_regressor_h36m.npy: Human3.6M's joints, or LSP's alone
SHAPES: dict[str, tuple[int | str, ...]] = {  # name -> shape of each array that a body model has
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
# Other body models come in files of the same layout: the shape of `weights` (vertices, joints) -> the model's name.
OTHERS = {
    (10475, 55): "SMPL-X", (6890, 52): "SMPL-H", (778, 16): "MANO, a hand", (5023, 5): "FLAME, a head",
    (3889, 33): "SMAL, an animal", (3889, 35): "SMAL, an animal",
}  # fmt: skip


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of SHAPES, float32, those of INTEGERS int64. The extra regressor may be in the file or lie beside it.

    UserError when the file or an array is missing, is damaged, or is of another body model or shape.
    """
    require_file(path)
    stored = load_npz(path, WHAT, SHAPES) if _is_zip(path) else _converted(path)
    if other := OTHERS.get(stored["weights"].shape if "weights" in stored else ()):
        raise UserError(f"{WHAT} {path} is a file of {other}; SMPL's is wanted: {SMPL.origin}")
    if EXTRA not in stored and "v_template" in stored:
        stored = {**stored, EXTRA: _extra_regressor(path)}
    missing = [name for name in SHAPES if name not in stored]
    if missing:
        raise UserError(f"{WHAT} {path} lacks {', '.join(missing)}; it is not a file of SMPL; get {SMPL.origin}")
    for name, shape in SHAPES.items():
        found = stored[name].shape
        fits = len(found) == len(shape) and all(
            n == want if isinstance(want, int) else n >= 10 for n, want in zip(found, shape, strict=True)
        )
        if not fits or stored[name].dtype.kind not in "fiu":
            expected = ", ".join(map(str, shape))
            raise UserError(
                f"{WHAT} {path}: {name} is {found} of {stored[name].dtype}, not numbers ({expected}); SMPL's is "
                f"wanted: {SMPL.origin}"
            )
    require_finite({name: stored[name] for name in SHAPES if name not in INTEGERS}, f"{WHAT} {path}")
    return {name: stored[name].astype(np.int64 if name in INTEGERS else np.float32) for name in SHAPES}


def require_file(path: Path) -> None:
    """UserError for a path at which no file of SMPL can be: a folder, a PyTorch file, another ending. Reads a few
    bytes."""
    if path.is_dir():
        inside = sorted(file for depth in ("", "*/", "*/*/") for file in path.glob(f"{depth}*SMPL_*.[pn][kp][lz]"))
        hint = f", such as {inside[0]}" if inside else f": {SMPL.origin}"
        raise UserError(f"{WHAT} {path} is a folder; give the file in it{hint}")
    if not path.is_file():
        raise UserError(f"{WHAT} not found: {path}; get {SMPL.origin}, or take starter:body")
    if path.suffix in (".pth", ".pt", ".ckpt", ".tar") or is_torch_file(path):
        raise UserError(
            f"{WHAT} {path} is a PyTorch file, as simple_romp packs SMPL for itself; give the file that it was made "
            f"from: {SMPL.origin}"
        )
    if path.suffix not in (".pkl", ".npz"):
        raise UserError(f"{WHAT} {path} is neither a .pkl nor an .npz; give {SMPL.origin}")


def require_extra_regressor(path: Path) -> Path:
    """The file EXTRA_FILE beside SMPL's own. UserError where there is none."""
    beside = path.with_name(EXTRA_FILE)
    if not beside.is_file():
        raise UserError(
            f"{WHAT} {path}: SPIN's {EXTRA_FILE} must lie beside it ({SPIN.source} brings it; non-commercial)"
        )
    return beside


def h36m_regressor(path: Path) -> np.ndarray | None:
    """(17, 6890) or (14, 6890) float32: the regressor of Human3.6M's joints that lies beside a body model's file. None:
    there is none. UserError: it is damaged."""
    file = path.with_name(H36M_REGRESSOR.published)
    if not file.is_file():
        return None
    try:
        rows = arrays.npy(text.read_text(file, LARGEST))
    except (Unreadable, OSError) as error:
        raise UserError(f"{file} is damaged ({error}); get {H36M_REGRESSOR.origin}") from error
    if rows.shape not in [(count, VERTICES) for count in REGRESSED] or rows.dtype.kind != "f":
        raise UserError(
            f"{file} is {rows.dtype} {rows.shape}, not floats (17, {VERTICES}) or (14, {VERTICES}); get "
            f"{H36M_REGRESSOR.origin}"
        )
    require_finite({H36M_REGRESSOR.title: rows}, str(file))
    return rows.astype(np.float32)


def _is_zip(path: Path) -> bool:
    """Whether the file is an .npz, by its first bytes or else by its name: an .npz may have been called .pkl."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\3\4" or path.suffix == ".npz"


def _extra_regressor(path: Path) -> np.ndarray:
    file = require_extra_regressor(path)
    try:
        return arrays.npy(text.read_text(file, LARGEST))
    except (Unreadable, OSError) as error:
        raise UserError(f"{file} is damaged ({error}); fetch it again with {SPIN.source}") from error


def _converted(path: Path) -> dict[str, np.ndarray]:
    """The pickle's arrays, by way of an .npz in the user's cache: the next process need not open the pickle."""
    with path.open("rb") as pickled:
        digest = hashlib.file_digest(pickled, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return convert(path)
    cache = home / "factory" / f"smpl-{digest}.npz"
    with contextlib.suppress(UserError, OSError):  # a damaged copy, or one of another user, is made anew
        if cache.is_file():
            return load_npz(cache, WHAT, SHAPES)
    converted = convert(path)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".tmp", delete=False) as file:
            np.savez(file, allow_pickle=False, **converted)
        os.replace(file.name, cache)  # whole or not at all, also with several workers
    except OSError:
        pass  # a home that cannot be written costs a second per process
    return converted


def convert(path: Path) -> dict[str, np.ndarray]:
    """Those arrays of SHAPES that the official .pkl of SMPL holds. Runs nothing of the file.

    UserError when it is no such file, or when it holds one of these arrays as a formula of chumpy.
    """
    stored = load_arrays(path, WHAT, VOCABULARY)
    if not isinstance(stored, dict):
        raise UserError(f"{WHAT} {path} holds no dict of arrays; get {SMPL.origin}")
    for name in SHAPES:
        if name in stored and not isinstance(stored[name], np.ndarray):
            kind = stored[name].kind if isinstance(stored[name], Placeholder) else type(stored[name]).__name__
            raise UserError(
                f"{WHAT} {path} is not laid out as SMPL's: {name} is a {kind}, not an array; get {SMPL.origin}"
            )
    return {name: stored[name] for name in SHAPES if name in stored}


def _chumpy(thing: Thing) -> Any:
    """The array of a chumpy.Ch: `x` of its state."""
    return thing.state["x"] if isinstance(thing.state, dict) and "x" in thing.state else Placeholder(str(thing.name))


def _select(thing: Thing) -> Any:
    """The array of a chumpy.reordering.Select: the items `idxs` of the array `a`, in the shape `preferred_shape`."""
    state = thing.state if isinstance(thing.state, dict) else {}
    whole, picks = state.get("a"), state.get("idxs")
    if not isinstance(whole, np.ndarray) or not isinstance(picks, np.ndarray):
        return Placeholder(str(thing.name))
    picked = whole.ravel()[picks]
    return picked.reshape(state.get("preferred_shape", picked.shape))


def _sparse(thing: Thing) -> Any:
    """The array of a scipy matrix stored by columns. A matrix larger than SMPL's becomes a placeholder, because a few
    bytes may say that they fill a terabyte."""
    from scipy.sparse import csc_matrix

    state = thing.state
    rows, columns = (int(n) for n in state.get("_shape", state.get("shape")))
    if not (0 <= rows <= VERTICES and 0 <= columns <= VERTICES):
        return Placeholder(str(thing.name))
    matrix = csc_matrix((state["data"], state["indices"], state["indptr"]), shape=(rows, columns))
    matrix.check_format(full_check=True)  # else indices beyond the shape write beyond the array
    return matrix.toarray()


# Other objects of chumpy are sums and products that only chumpy can compute; none of SMPL's own arrays is one of them.
VOCABULARY: Vocabulary = {
    ("chumpy.ch", "Ch"): _chumpy,
    ("chumpy.reordering", "Select"): _select,
    ("scipy.sparse.csc", "csc_matrix"): _sparse,
    ("scipy.sparse._csc", "csc_matrix"): _sparse,
}

"""Files in SMPL's own layout, written from the starter's body: what users get, but for the values."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

from factory.weights.locate import resolve
from factory.weights.smpl_file import EXTRA, EXTRA_FILE


def arrays(shapes: int = 12) -> dict[str, np.ndarray]:
    """SMPL's arrays with its dtypes; `shapes` directions of shape: 10 in version 1.0, 300 (and 50 MB) in 1.1."""
    with np.load(resolve("starter:body")) as stored:
        data = {name: stored[name] for name in stored.files}
    more = np.zeros((*data["shapedirs"].shape[:2], shapes - data["shapedirs"].shape[2]))
    data["shapedirs"] = np.concatenate([data["shapedirs"].astype(np.float64), more], 2)
    data["kintree_table"] = data["kintree_table"].astype(np.int64).astype(np.uint32)  # the root's parent: 2^32 - 1
    data["f"] = data["f"].astype(np.uint32)
    return data


def write_pickle(folder: Path, protocol: int = 2, **changes: Any) -> Path:
    """SMPL_NEUTRAL.pkl with chumpy arrays and a scipy matrix, and SPIN's regressor beside it."""
    data = arrays()
    np.save(folder / EXTRA_FILE, data.pop(EXTRA))
    reordering = _chumpy()[1]
    inner = chumpy_array(data["weights"].ravel())
    picks = {"a": inner, "idxs": np.arange(data["weights"].size), "preferred_shape": data["weights"].shape}
    content = {
        **data,
        "J_regressor": csc_matrix(data["J_regressor"].astype(np.float64)),
        "shapedirs": chumpy_array(data["shapedirs"]),
        "weights": _object(reordering.Select, picks),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "J": data["J_regressor"] @ data["v_template"],
        **changes,
    }
    path = folder / "SMPL_NEUTRAL.pkl"
    path.write_bytes(dump(content, protocol))
    return path


def dump(content: Any, protocol: int) -> bytes:
    """Pickled while packages called chumpy are there, as on the machine that made SMPL's files."""
    modules = {"chumpy": types.ModuleType("chumpy"), **{module.__name__: module for module in _chumpy()}}
    sys.modules.update(modules)
    try:
        return pickle.dumps(content, protocol)
    finally:
        for name in modules:
            del sys.modules[name]


def chumpy_array(x: np.ndarray) -> Any:
    state = {"_dirty_vars": set(), "_itr": None, "_make_dense": False, "x": x.astype(np.float64)}
    return _object(_chumpy()[0].Ch, state)


def chumpy_object(module: str, kind: str, **state: Any) -> Any:
    """One of chumpy's formulas, such as chumpy.ch_ops.dot."""
    found = next(made for made in _chumpy() if made.__name__ == module)
    return _object(getattr(found, kind), state)


_made: list[Any] = []
_KINDS = [("chumpy.ch", ["Ch"]), ("chumpy.reordering", ["Select"]), ("chumpy.ch_ops", ["dot", "add"])]


def _chumpy() -> list[Any]:
    if not _made:
        for name, kinds in _KINDS:
            module: Any = types.ModuleType(name)
            for kind in kinds:
                setattr(module, kind, type(kind, (), {"__module__": name}))
            _made.append(module)
    return _made


def _object(kind: type, state: dict) -> Any:
    made = kind()
    made.__dict__.update(state)
    return made

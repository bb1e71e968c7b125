"""What tests of exports share: how an export is read, its cameras said anew, and how its tables and tars are spoilt."""

from __future__ import annotations

import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from factory.export.formats import FORMATS
from factory.export.validate import validate

SPLIT = "train=0.8,val=0.2"
TABLES = {
    name: f"{'preprocessed_datasets/' * (name == 'humandata')}hard-poses-train.npz"
    for name in FORMATS
    if name != "hmr2"
}


def people(folder) -> list[tuple[str, dict]]:
    found = []
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as archive:
            for info in archive:
                if info.name.endswith(".data.pyd"):
                    stored = pickle.load(archive.extractfile(info))  # type: ignore[arg-type]
                    found += [(info.name.partition(".")[0], entry) for entry in stored]
    return found


def projected(K: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(M, J, 2) px of points (M, J, 3) m in the camera frame; K (M, 3, 3)."""
    projected = np.einsum("mij,mpj->mpi", K.astype(np.float64), points.astype(np.float64))
    return projected[..., :2] / projected[..., 2:]


def weak_to_transl(camera: np.ndarray, center: np.ndarray, side: np.ndarray, K: np.ndarray) -> np.ndarray:
    """The formula of the weak-perspective camera, stated anew: (M, 3) m."""
    bs = side * camera[:, 0] + 1e-9
    tz = 2 * K[:, 0, 0] / bs
    xy = 2 * (center - K[:, :2, 2]) / bs[:, None] + camera[:, 1:]
    return np.concatenate([xy, tz[:, None]], 1)


class Harm:
    def __reduce__(self) -> tuple:
        return os.system, ("echo harm",)


def spoilt(exported, tmp_path: Path, name: str, spoil: Callable[[dict], object]) -> list[str]:
    """The problems of an export whose train table went through `spoil`; its images are linked to."""
    source, path = exported(name), tmp_path / TABLES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in ("images", "static_fits", "datasets"):
        if (source / folder).exists():
            os.symlink(source / folder, tmp_path / folder)
    with np.load(source / TABLES[name], allow_pickle=True) as stored:
        rows = dict(stored)
    spoil(rows)
    np.savez(path, allow_pickle=True, **rows)
    return list(validate(str(tmp_path), name))


def put(name: str, change: Callable[[np.ndarray], object]) -> Callable[[dict], None]:
    return lambda rows: rows.update({name: np.array(change(rows[name]))})


def tar_problems(exported, tmp_path: Path, spoil: Callable[[list], object]) -> list[str]:
    """The problems of a tar whose first list of people went through `spoil`."""
    with tarfile.open(exported("hmr2") / "hard-poses-val" / "000000.tar") as source:
        first, second = source.getmembers()[:2]
        image, stored = (source.extractfile(info).read() for info in (first, second))  # type: ignore[union-attr]
    people = pickle.loads(stored)
    changed = spoil(people)
    stored = changed if isinstance(changed, bytes) else pickle.dumps(people if changed is None else changed)
    for info, data in ((first, image), (second, stored)):
        (tmp_path / info.name).write_bytes(data)
    with tarfile.open(tmp_path / "000000.tar", "w") as target:
        for info in (first, second):
            target.add(tmp_path / info.name, info.name)
    return list(validate(str(tmp_path), "hmr2"))


def each(name: str, change: Callable[[np.ndarray], object]) -> Callable[[list], None]:
    return lambda people: [person.update({name: change(person[name])}) for person in people] and None

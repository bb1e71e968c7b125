"""What the files hold that a job names: the identity of all that a data set is made from, whatever it is called.

Of a model it costs milliseconds for gigabytes: a file of up to READ_WHOLE bytes is read whole; of a larger one its
size, both ends and pieces spread over it. Retrained, converted or swapped weights differ nearly everywhere, so they are
noticed; a single changed byte need not be. Files of labels are read whole. Of images see `images.identity`.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.home import at_home
from factory.plan import Plan
from factory.sources import images
from factory.weights import catalogue
from factory.weights.locate import locate

MODEL_FIELDS = ("model", "adapter", "controlnet")  # fields of a job that name a model
# What the loader of a model also reads, beside its file.
ALSO_READ = {"body.model": catalogue.SMPL.beside, "stages.estimate.hmr.model": catalogue.SPIN.beside}
BASE_CONFIG = re.compile(r"""^_BASE_\s*:\s*["']?([^"'#\n]+)""", re.M)  # detectron2: the file that a config goes on from
READ_WHOLE = 16 * 2**20  # bytes
PIECES, PIECE_BYTES = 64, 64 * 1024  # of a larger file, that are read


def made_from(plan: Plan) -> dict[str, str]:
    """Field of the job -> identity of what it names: models, configurations, images and labels that lie on this disk.
    Models of a hub or of a cluster's nodes, and images that are gone since, are left out: their content is not known
    here."""
    job, identities = plan.job, dict[str, str]()
    for field, name in _models(job.model_dump(mode="json"), ""):
        with suppress(UserError):
            if path := locate(name):
                identities[field] = digest(path)
                if field in ALSO_READ and (beside := path.parent / ALSO_READ[field]).is_file() and path.is_file():
                    identities[f"{field} ({beside.name})"] = digest(beside)
    detector = job.stages.estimate.detector
    if detector.config and Path(detector.config).is_file():
        identities["stages.estimate.detector.config"] = _of_config(Path(detector.config))
    labels = {
        "images.keypoints": job.images.keypoints if job.images else None,
        "poses.path": job.poses.path if job.poses else None,
    }
    for field, file in labels.items():
        if file and at_home(file).is_file():
            identities[field] = _of_labels(at_home(file))
    with suppress(UserError):
        if job.images:
            identities["images.path"] = images.identity(job.images, plan.sources)
    return identities


def _models(values: Any, prefix: str) -> list[tuple[str, str]]:
    """(dotted field, name) of the models that a job names."""
    models = []
    for key, value in values.items() if isinstance(values, dict) else ():
        if key in MODEL_FIELDS and isinstance(value, str):
            models.append((f"{prefix}{key}", value))
        models += _models(value, f"{prefix}{key}.")
    return models


def _of_labels(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _of_config(path: Path) -> str:
    """Of a configuration and those that it goes on from."""
    hasher, seen = hashlib.blake2b(digest_size=16), set[Path]()
    while path.is_file() and path.resolve() not in seen:
        seen.add(path.resolve())
        with open(path, "rb") as file:
            data = file.read(READ_WHOLE)
        hasher.update(BASE_CONFIG.sub("", text := data.decode("utf-8", "replace")).encode() + b"\0")
        base = BASE_CONFIG.search(text)
        path = path.parent / at_home(base[1].strip()) if base else path
    return hasher.hexdigest()


def digest(path: Path) -> str:
    """Of a file, or of a folder's files with their names; hidden ones are left out. Links are followed."""
    if path.is_file():
        return _of_file(path).hex()
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(_names(path)):
        whole.update(name.encode("utf-8", "surrogateescape") + b"\0" + _of_file(path / name))
    return whole.hexdigest()


def _names(folder: Path) -> list[str]:
    files = []
    for folder_path, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        inside = Path(folder_path).relative_to(folder)
        files += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    return [name for name in files if (folder / name).is_file()]


def _of_file(path: Path) -> bytes:
    size = path.stat().st_size
    hasher = hashlib.blake2b(f"{size}:".encode(), digest_size=16)
    with open(path, "rb") as file:
        if size <= READ_WHOLE:
            hasher.update(file.read())
        else:
            for i in range(PIECES):
                file.seek((size - PIECE_BYTES) * i // (PIECES - 1))
                hasher.update(file.read(PIECE_BYTES))
    return hasher.digest()

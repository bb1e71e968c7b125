"""The files of one sample, decoded and checked: a data set may be of untrusted origin.

Size and type of each file follow from the job, so a file is refused by its header where it is anything else. Every
function raises `Unreadable`.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable

import numpy as np
from pydantic import ValidationError

from factory.job import JobSpec
from factory.metrics import may_be_missing
from factory.store.fs import Files
from factory.store.sample import PERSON, SampleFields, SampleJson, files_of
from factory.untrusted import Unreadable, arrays, pictures, text

JSON = 1 << 20  # bytes at most
PEOPLE = 1000  # in an image, at most


def most_bytes(job: JobSpec) -> int:
    """More than any sample of the job has: its images and masks as if they were not packed, and room for the rest."""
    return 24 * job.image_size**2 + (1 << 23)


def segment(files: Files, tar_name: str, key: str, offset: int, size: int, job: JobSpec) -> dict[str, bytes]:
    """Extension -> bytes of the sample called `key` that lies there in a tar. FileNotFoundError: no such tar."""
    if offset < 0 or not 0 < size <= most_bytes(job):
        raise Unreadable(f"no sample is {size:,} bytes long, from byte {offset:,} on")
    try:
        return files_of(key, files.read(tar_name, offset, size))
    except (tarfile.TarError, ValueError) as error:
        raise Unreadable(error) from None


def image(data: bytes, job: JobSpec) -> np.ndarray:
    """jpg, initial.jpg -> (H, W, 3) uint8 RGB."""
    return pictures.pixels(data, "JPEG", "RGB", (job.image_size, job.image_size))


def mask(data: bytes, job: JobSpec) -> np.ndarray:
    """person.png, object.png -> (H, W) bool."""
    return pictures.pixels(data, "PNG", "L", (job.image_size, job.image_size)) > 127


def depth(data: bytes, job: JobSpec) -> np.ndarray:
    """depth.npy -> (H, W) float32 m."""
    metres = arrays.npy(data, (job.image_size, job.image_size), "f")
    if metres.dtype != np.float32 or not np.isfinite(metres).all():
        raise Unreadable(f"{metres.dtype}, not float32" if metres.dtype != np.float32 else "not finite")
    return metres


def people(data: bytes, names: Iterable[str] = PERSON) -> dict[str, np.ndarray]:
    """smpl.npz -> those arrays of `sample.PERSON`, (P, ...) float32."""
    wanted = list(names)
    limit = PEOPLE * 4 * sum(int(np.prod(PERSON[name])) for name in wanted)
    found = arrays.npz(data, dict.fromkeys(wanted, "f"), limit)
    if missing := [name for name in wanted if name not in found]:
        raise Unreadable(f"lacks {', '.join(missing)}")
    count = len(found[wanted[0]]) if found[wanted[0]].ndim else 0
    for name, array in found.items():
        if array.shape != (count, *PERSON[name]) or array.dtype != np.float32:
            raise Unreadable(f"{name}: {array.dtype} {array.shape}, not float32 {(count, *PERSON[name])}")
        if not may_be_missing(name) and not np.isfinite(array).all():
            raise Unreadable(f"{name}: not finite")
    return {name: array.copy() for name, array in found.items()}


def sample_json(data: bytes) -> SampleFields:
    """json -> its fields, a `SampleJson`."""
    try:
        return SampleJson.model_validate(text.loads(data, JSON))
    except ValidationError as error:
        first = error.errors()[0]
        raise Unreadable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

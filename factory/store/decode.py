"""The files of one sample, decoded and checked: a data set may be of untrusted origin.

Size and type of each file follow from the job, so a file that is anything else is refused by its header. Every function
raises `Unreadable`. Shapes: P people in an image of H x W px.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from factory.job import JobSpec
from factory.metrics import may_be_missing, of_images
from factory.store.fs import Files
from factory.store.sample import PERSON_ARRAYS, SampleFields, SampleJson
from factory.store.tar import tar_members
from factory.untrusted import Unreadable, arrays, pictures, text

JSON_BYTES = 1 << 20  # of a sample's json, at most
MOST_PEOPLE = 1000  # in an image


@dataclass(frozen=True)
class DecodedSample:
    """One sample of a data set. What the job's `sample.extras` leave out is None."""

    key: str
    image: np.ndarray  # (H, W, 3) uint8 RGB: the final image
    people: dict[str, np.ndarray]  # the arrays of smpl.npz, (P, ...) float32, as sample.PERSON_ARRAYS lists them
    about: SampleFields  # the fields of its json
    initial: np.ndarray | None = None  # (H, W, 3) uint8 RGB: the image before refinement
    depth: np.ndarray | None = None  # (H, W) float32 m, 0 where no body is seen
    person_mask: np.ndarray | None = None  # (H, W) bool
    object_mask: np.ndarray | None = None  # (H, W) bool: objects in front of people


def most_sample_bytes(job: JobSpec) -> int:
    """More than any sample of the job has: its images and masks as if they were not compressed, and room for the
    rest."""
    return 24 * job.image_size**2 + (1 << 23)


def cut_sample(files: Files, tar_name: str, key: str, offset: int, size: int, job: JobSpec) -> dict[str, bytes]:
    """Extension -> bytes of the sample called `key` in those bytes of a tar. FileNotFoundError: there is no such
    tar."""
    if offset < 0 or not 0 < size <= most_sample_bytes(job):
        raise Unreadable(f"no sample is {size:,} bytes long, from byte {offset:,} on")
    members: dict[str, bytes] = {}
    try:
        for name, content in tar_members(files.read(tar_name, offset, size)):
            stem, _, extension = name.partition(".")
            if stem != key or extension in members:
                raise Unreadable(f"holds {name[:100]!r}, which is no file of this sample")
            members[extension] = content
    except tarfile.TarError as error:
        raise Unreadable(error) from None
    return members


def decode_sample(key: str, files: dict[str, bytes], job: JobSpec) -> DecodedSample:
    """The sample whose files are these (extension -> bytes). KeyError: one of jpg, json and smpl.npz is missing."""
    masks = [decode_mask(files[name], job) if name in files else None for name in ("person.png", "object.png")]
    return DecodedSample(
        key,
        decode_image(files["jpg"], job),
        decode_people(files["smpl.npz"]),
        decode_json(files["json"]),
        decode_image(files["initial.jpg"], job) if "initial.jpg" in files else None,
        decode_depth(files["depth.npy"], job) if "depth.npy" in files else None,
        *masks,
    )


def decode_image(data: bytes, job: JobSpec) -> np.ndarray:
    """jpg, initial.jpg -> (H, W, 3) uint8 RGB."""
    return pictures.pixels(data, "JPEG", "RGB", (job.image_size, job.image_size))


def decode_mask(data: bytes, job: JobSpec) -> np.ndarray:
    """person.png, object.png -> (H, W) bool."""
    return pictures.pixels(data, "PNG", "L", (job.image_size, job.image_size)) > 127


def decode_depth(data: bytes, job: JobSpec) -> np.ndarray:
    """depth.npy -> (H, W) float32 m."""
    metres = arrays.npy(data, (job.image_size, job.image_size), "f")
    if metres.dtype != np.float32 or not np.isfinite(metres).all():
        raise Unreadable(f"{metres.dtype}, not float32" if metres.dtype != np.float32 else "not finite")
    return metres


def decode_people(data: bytes, names: Iterable[str] = PERSON_ARRAYS) -> dict[str, np.ndarray]:
    """smpl.npz -> those of its arrays, (P, ...) float32. NaN stands for a metric that is newer than the sample."""
    wanted = dict.fromkeys(names, "f")
    limit = MOST_PEOPLE * 4 * sum(int(np.prod(PERSON_ARRAYS[name])) for name in wanted)
    people = arrays.npz(data, wanted, limit)
    if missing := [name for name in wanted if name not in people and not may_be_missing(name)]:
        raise Unreadable(f"lacks {', '.join(missing)}")
    count = max((len(array) for array in people.values() if array.ndim), default=0)
    for name in wanted.keys() - people.keys():
        people[name] = np.full((count, *PERSON_ARRAYS[name]), np.nan, np.float32)
    for name, array in people.items():
        shape = (count, *PERSON_ARRAYS[name])
        if array.shape != shape or array.dtype != np.float32:
            raise Unreadable(f"{name}: {array.dtype} {array.shape}, not float32 {shape}")
        if not may_be_missing(name) and not np.isfinite(array).all():
            raise Unreadable(f"{name}: not finite")
    return {name: array.copy() for name, array in people.items()}


def decode_json(data: bytes) -> SampleFields:
    """json -> its fields, a `SampleJson`."""
    try:
        fields = text.loads(data, JSON_BYTES)
        if isinstance(fields, dict):  # a metric may be newer than the sample
            fields = {metric.name: None for metric in of_images() if metric.optional} | fields
        return SampleJson.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise Unreadable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

"""One shard or part: whether its tar, its index, the plan and the format of samples agree, byte by byte."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from factory.job import JobSpec
from factory.plan import Plan
from factory.record import State
from factory.store import opened, sample, tar
from factory.store.dataset import DataSet, Place
from factory.store.part import SCHEMA, Damaged, Head, index_table
from factory.untrusted import Unreadable, arrays

CHUNK = 1 << 22  # bytes


@dataclass
class Checked:
    """The result of `check`. `units` are the damaged units by number; `whole` is true where the damage cannot be traced
    to units, so that all are suspect."""

    problems: list[str] = field(default_factory=list)  # one line each, beginning with the object's name
    units: set[int] = field(default_factory=set)
    whole: bool = False
    head: Head | None = None
    samples: int = 0
    bytes: int = 0  # of the tar


def check(data: DataSet, place: Place, index: bytes | None, content: IO[bytes] | None) -> Checked:
    """Check a shard or a part whose `index` and tar `content` are these, None where they are gone. One sample is in
    memory at a time."""
    tar_name, index_name = data.names(place)
    shard, unit = place
    units = range(data.plan.units_in(shard)) if unit is None else range(unit, unit + 1)
    found = Checked()

    def whole(where: str, what: str) -> Checked:
        found.problems.append(f"{where}: {what}")
        found.whole = True
        return found

    try:
        table, found.head = index_table(index, index_name)
    except Damaged as error:
        return whole(index_name, f"unreadable ({error.why})")
    if table.schema != SCHEMA:
        return whole(index_name, "other columns than an index has")
    if found.head.fingerprint not in ("", data.fingerprint):
        return whole(index_name, "belongs to another job")
    rows = table.to_pylist()
    _check_rows(rows, data.plan, shard, units, lambda what: whole(index_name, what))
    if content is None:
        if any(row["size"] for row in rows):
            return whole(tar_name, "missing, but its index is there")
        content = io.BytesIO()  # a shard without samples has no tar
    found.bytes = content.seek(0, io.SEEK_END)
    if found.bytes != found.head.bytes or _sha256(content, 0, found.bytes) != found.head.sha256:
        found.problems.append(f"{tar_name}: its {found.bytes} bytes are not the {found.head.bytes} that were written")
        start = 0
        for number, (size, sha256) in enumerate(found.head.units):
            if not 0 <= size <= found.bytes or _sha256(content, start, size) != sha256:
                found.problems.append(f"{tar_name}: unit {number} is damaged")
                found.units.add(number)
            start += size
        return found  # what else is wrong follows from that
    content.seek(0)
    members, endings = tar.walk(content, opened.most_bytes(data.job)), sample.extensions(data.job)
    try:
        for row in rows:
            if not row["size"]:
                continue
            start, files = content.tell(), {}
            for ending, (name, member) in zip(endings, members, strict=False):
                files[ending] = member
                if name != f"{row['key']}.{ending}":
                    break
            if len(files) < len(endings) or name != f"{row['key']}.{endings[-1]}":
                return whole(tar_name, "its members are not those that the index tells of")
            segment = tar.segment((f"{row['key']}.{ending}", member) for ending, member in files.items())
            if (row["offset"], row["size"]) != (start, len(segment)) or _read(content, start, len(segment)) != segment:
                whole(tar_name, f"{row['key']} is not at the offset that the index tells")
            for what in _faults(files, row, data.job):
                found.problems.append(f"{tar_name}: {row['key']}.{what}")
                found.units.add(row["unit"])
            found.samples += 1
        if next(members, None) is not None:
            return whole(tar_name, "its members are not those that the index tells of")
    except tarfile.TarError as error:
        return whole(tar_name, f"not a readable tar ({error})")
    return found


def md5(content: IO[bytes]) -> str:
    return _hash(hashlib.md5(usedforsecurity=False), content, 0, content.seek(0, io.SEEK_END))


def _sha256(content: IO[bytes], start: int, size: int) -> str:
    return _hash(hashlib.sha256(), content, start, size)


def _hash(state: Any, content: IO[bytes], start: int, size: int) -> str:
    content.seek(start)
    while size > 0 and (chunk := content.read(min(size, CHUNK))):
        state.update(chunk)
        size -= len(chunk)
    return state.hexdigest()


def _read(content: IO[bytes], start: int, size: int) -> bytes:
    content.seek(start)
    return content.read(size)


def _check_rows(rows: list[dict], planned: Plan, shard: int, units: range, fault: Callable[[str], object]) -> None:
    """One row per planned record, in order, each in a final state."""
    last = min(units.stop * planned.job.unit_size, planned.records_in(shard))
    # First the number, because a plan of untrusted origin may have millions of records.
    as_many = len(rows) == last - units.start * planned.job.unit_size
    expected = [(unit, *name) for unit in units for name in planned.names(shard, unit)] if as_many else []
    if not as_many or [row["key"] for row in rows] != [key for _, key, _ in expected]:
        fault("its keys are not those of the plan")
        return
    if not (planned.job.images or planned.job.poses):  # whose prompts may tell what is gone
        prompts = [record.prompt for unit in units for record in planned.unit(shard, unit).records]
        for row, prompt in zip(rows, prompts, strict=True):
            if not prompt.startswith(row["prompt"]):  # stage 1 stores what its text encoder read of it
                fault(f"{row['key']} has another prompt than planned")
    for row, (unit, key, seed) in zip(rows, expected, strict=True):
        if (row["shard"], row["unit"], row["seed"]) != (shard, unit, seed):
            fault(f"{key} has another unit or seed than planned")
        if row["state"] not in (State.OK, State.REJECTED, State.FAILED):
            fault(f"{key} is {row['state']}, which is no final state")
        if (row["state"] == State.OK) != (row["size"] > 0):
            fault(f"{key} is {row['state']} with a sample of {row['size']} bytes")
        why = bool(row["reason"]), bool(row["error"])
        if why != (row["state"] == State.REJECTED, row["state"] == State.FAILED):
            fault(f"{key} is {row['state']}, reason {row['reason']!r}, error {row['error']!r}")


def _faults(files: dict[str, bytes], row: dict, job: JobSpec) -> list[str]:
    """What is wrong inside a sample: 'extension: what'."""
    found = []
    for ending, content in files.items():
        try:
            if ending.endswith("jpg"):
                opened.image(content, job)
            elif ending.endswith("png"):
                opened.mask(content, job)
            elif ending == "json":
                about = opened.sample_json(content)
                if any(getattr(about, name) != row[name] for name in ("key", "seed", "prompt", "refined", "people")):
                    found.append(f"{ending}: differs from its index row")
            elif ending == "depth.npy":
                opened.depth(content, job)
            elif len(opened.people(content)["pose"]) != row["people"]:
                found.append(f"{ending}: not the {row['people']} people that the index tells of")
            elif len(arrays.names(content)) != len(sample.PERSON):
                found.append(f"{ending}: holds more than a sample's arrays")
        except Unreadable as error:
            found.append(f"{ending}: unreadable ({error})")
    return found

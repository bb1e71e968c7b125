"""Whether the tar and the index of a shard or part, the plan and the format of samples agree, byte by byte."""

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
from factory.store.dataset import DataSet
from factory.store.decode import (
    decode_depth,
    decode_image,
    decode_json,
    decode_mask,
    decode_people,
    most_sample_bytes,
)
from factory.store.index import SCHEMA, Damaged, Head, StoredIndex
from factory.store.layout import Archive
from factory.store.sample import PERSON_ARRAYS, extensions
from factory.store.tar import tar_segment, tar_stream
from factory.untrusted import Unreadable, arrays

READ_AT_ONCE = 1 << 22  # bytes
ARRAY_FILES = {f"{name}.npy" for name in PERSON_ARRAYS}  # members of smpl.npz
OTHER_MEMBERS = "its members are not those that the index tells of"


@dataclass
class Faults:
    """The damage of a shard or part: `units` are the damaged units by number; `whole_file` is true where the damage
    cannot be traced to units, so that all of them are suspect."""

    units: set[int] = field(default_factory=set)
    whole_file: bool = False


@dataclass
class Checked:
    """The result of `check_archive`."""

    problems: list[str] = field(default_factory=list)  # one line each, beginning with the object's name
    faults: Faults = field(default_factory=Faults)
    states: dict[str, int] = field(default_factory=dict)  # state -> records, as the index says
    own_hash: str = ""  # of the index
    samples: int = 0
    bytes: int = 0  # of the tar

    def blame_whole(self, name: str, what: str) -> None:
        """Add a problem of the object called `name` that cannot be traced to units."""
        self.problems.append(f"{name}: {what}")
        self.faults.whole_file = True

    def blame_unit(self, name: str, unit: int, what: str) -> None:
        """Add a problem of one unit in the object called `name`."""
        self.problems.append(f"{name}: {what}")
        self.faults.units.add(unit)


def check_archive(data: DataSet, archive: Archive, index: StoredIndex, content: IO[bytes] | None) -> Checked:
    """Check a shard or part that has this index and tar; `content` is None where the tar is gone. One sample is in
    memory at a time."""
    shard, unit = archive.shard, archive.unit
    units = range(data.plan.units_in(shard)) if unit is None else range(unit, unit + 1)
    checked = Checked()
    try:
        table, head = index.table()
    except Damaged as error:
        checked.blame_whole(archive.index_name, f"unreadable ({error.why})")
        return checked
    checked.states, checked.own_hash = head.states, head.own_hash
    if table.schema != SCHEMA:
        checked.blame_whole(archive.index_name, "other columns than an index has")
        return checked
    if head.fingerprint not in ("", data.fingerprint):
        checked.blame_whole(archive.index_name, "belongs to another job")
        return checked
    rows = table.to_pylist()
    _check_rows(rows, data.plan, shard, units, lambda what: checked.blame_whole(archive.index_name, what))
    if content is None:
        if any(row["size"] for row in rows):
            checked.blame_whole(archive.tar_name, "missing, but its index is there")
            return checked
        content = io.BytesIO()  # a shard without samples has no tar
    checked.bytes = content.seek(0, io.SEEK_END)
    if checked.bytes != head.bytes or _sha256(content, 0, checked.bytes) != head.sha256:
        _blame_changed_units(checked, archive.tar_name, head, content)
        return checked  # what else is wrong follows from that
    content.seek(0)
    try:
        _check_members(checked, archive.tar_name, content, rows, data.job)
    except tarfile.TarError as error:
        checked.blame_whole(archive.tar_name, f"not a readable tar ({error})")
    return checked


def md5(content: IO[bytes]) -> str:
    return _hash(hashlib.md5(usedforsecurity=False), content, 0, content.seek(0, io.SEEK_END))


def _blame_changed_units(checked: Checked, name: str, head: Head, content: IO[bytes]) -> None:
    """Of a tar whose bytes are not those that were written: which units have changed."""
    checked.problems.append(f"{name}: its {checked.bytes} bytes are not the {head.bytes} that were written")
    start = 0
    for unit, (size, sha256) in enumerate(head.units):
        if not 0 <= size <= checked.bytes or _sha256(content, start, size) != sha256:
            checked.blame_unit(name, unit, f"unit {unit} is damaged")
        start += size


def _check_members(checked: Checked, name: str, content: IO[bytes], rows: list[dict[str, Any]], job: JobSpec) -> None:
    """Whether the tar called `name` holds the samples of the rows, in their order, each where its row says and what
    its row says, and nothing else. Raises TarError."""
    members, endings = tar_stream(content, most_sample_bytes(job)), extensions(job)
    for row in rows:
        if not row["size"]:
            continue
        start, files = content.tell(), dict[str, bytes]()
        for ending, (member_name, member) in zip(endings, members, strict=False):
            files[ending] = member
            if member_name != f"{row['key']}.{ending}":
                break
        if len(files) < len(endings) or member_name != f"{row['key']}.{endings[-1]}":
            checked.blame_whole(name, OTHER_MEMBERS)
            return
        segment = tar_segment((f"{row['key']}.{ending}", member) for ending, member in files.items())
        if (row["offset"], row["size"]) != (start, len(segment)) or _read(content, start, len(segment)) != segment:
            checked.blame_whole(name, f"{row['key']} is not at the offset that the index tells")
        for what in _file_faults(files, row, job):
            checked.blame_unit(name, row["unit"], f"{row['key']}.{what}")
        checked.samples += 1
    if next(members, None) is not None:
        checked.blame_whole(name, OTHER_MEMBERS)


def _check_rows(
    rows: list[dict[str, Any]], planned: Plan, shard: int, units: range, blame: Callable[[str], object]
) -> None:
    """Whether there is one row per planned record, in order, each in a final state."""
    last = min(units.stop * planned.job.unit_size, planned.records_in(shard))
    # First the number, because a plan of untrusted origin may have millions of records.
    as_many = len(rows) == last - units.start * planned.job.unit_size
    expected = [(unit, *name) for unit in units for name in planned.names(shard, unit)] if as_many else []
    if not as_many or [row["key"] for row in rows] != [key for _, key, _ in expected]:
        blame("its keys are not those of the plan")
        return
    if not (planned.job.images or planned.job.poses):  # the prompts of those may follow from files that are gone
        prompts = [record.prompt for unit in units for record in planned.unit(shard, unit).records]
        for row, prompt in zip(rows, prompts, strict=True):
            if not prompt.startswith(row["prompt"]):  # stage 1 stores what its text encoder read of it
                blame(f"{row['key']} has another prompt than planned")
    for row, (unit, key, seed) in zip(rows, expected, strict=True):
        if (row["shard"], row["unit"], row["seed"]) != (shard, unit, seed):
            blame(f"{key} has another unit or seed than planned")
        if row["state"] not in (State.OK, State.REJECTED, State.FAILED):
            blame(f"{key} is {row['state']}, which is no final state")
        if (row["state"] == State.OK) != (row["size"] > 0):
            blame(f"{key} is {row['state']} with a sample of {row['size']} bytes")
        why = bool(row["reason"]), bool(row["error"])
        if why != (row["state"] == State.REJECTED, row["state"] == State.FAILED):
            blame(f"{key} is {row['state']}, reason {row['reason']!r}, error {row['error']!r}")


def _file_faults(files: dict[str, bytes], row: dict[str, Any], job: JobSpec) -> list[str]:
    """What is wrong inside the files of a sample, one 'extension: what' each."""
    faults = []
    for ending, content in files.items():
        try:
            if ending.endswith("jpg"):
                decode_image(content, job)
            elif ending.endswith("png"):
                decode_mask(content, job)
            elif ending == "json":
                about = decode_json(content)
                if any(getattr(about, name) != row[name] for name in ("key", "seed", "prompt", "refined", "people")):
                    faults.append(f"{ending}: differs from its index row")
            elif ending == "depth.npy":
                decode_depth(content, job)
            elif len(decode_people(content)["pose"]) != row["people"]:
                faults.append(f"{ending}: not the {row['people']} people that the index tells of")
            elif not set(names := arrays.names(content)) <= ARRAY_FILES or len(names) > len(set(names)):
                faults.append(f"{ending}: holds more than a sample's arrays")
        except Unreadable as error:
            faults.append(f"{ending}: unreadable ({error})")
    return faults


def _sha256(content: IO[bytes], start: int, size: int) -> str:
    return _hash(hashlib.sha256(), content, start, size)


def _hash(hasher: Any, content: IO[bytes], start: int, size: int) -> str:
    content.seek(start)
    while size > 0 and (chunk := content.read(min(size, READ_AT_ONCE))):
        hasher.update(chunk)
        size -= len(chunk)
    return hasher.hexdigest()


def _read(content: IO[bytes], start: int, size: int) -> bytes:
    content.seek(start)
    return content.read(size)

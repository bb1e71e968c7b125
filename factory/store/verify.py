"""Whether a data set is what its job planned and its indexes say, byte by byte; from storage alone."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from PIL import Image

from factory.plan import Plan, plan
from factory.record import State
from factory.store import layout, lock, sample, tar
from factory.store.fs import Files, open_files
from factory.store.layout import part_names, shard_names
from factory.store.part import SCHEMA, digest, index_table
from factory.store.reopen import reopen
from factory.store.sample import SampleJson

BESIDE = {layout.JOB, "report.html", "contact.png", "README.md", "preview.jpg", "wids.json"}  # what else belongs there


@dataclass
class Report:
    shards: int = 0  # sealed
    samples: int = 0
    bytes: int = 0
    complete: bool = False  # every planned shard is sealed
    problems: list[str] = field(default_factory=list)  # one line each
    broken: dict[int, set[int] | None] = field(default_factory=dict)  # shard -> its units at fault, None: all
    broken_parts: list[tuple[int, int]] = field(default_factory=list)  # (shard, unit) of those not yet in a shard
    strays: list[str] = field(default_factory=list)  # objects that do not belong there

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(out: str) -> Report:
    """Reads every byte: shards and parts against their indexes, indexes against the plan, samples against their
    format. UserError where there is no data set."""
    files = open_files(out)
    planned = plan(layout.stored_job(files, out))
    return _verify(files, planned)


def repair(out: str, say: Callable[[str], None] = lambda text: None) -> Report:
    """Verify, and take away what is broken, so that the next run makes it anew: of a shard the units at fault, the
    others lie there as parts again. Strays are somebody's and stay. UserError: no data set, or a run holds it."""
    files = open_files(out)
    planned = plan(layout.stored_job(files, out))
    with lock.hold(files, say) as lease:
        files.sweep(layout.FOLDERS)
        report = _verify(files, planned)
        for shard, units in report.broken.items():
            lease.check()
            reopen(files, planned, shard, range(planned.units_in(shard)) if units is None else units)
        for shard, unit in report.broken_parts:
            lease.check()
            for name in reversed(part_names(shard, unit)):  # the mark first
                files.delete([name])
    return report


def _verify(files: Files, planned: Plan) -> Report:
    sizes = files.sizes()
    sealed, parts = layout.found(planned, sizes)
    report = Report(shards=len(sealed), complete=len(sealed) == planned.shards)
    expected = set(BESIDE)
    for shard in sorted(sealed):
        names = shard_names(planned, shard)
        expected.update(names)
        if faults := _check(report, files, names, planned, shard, range(planned.units_in(shard))):
            report.broken[shard] = (
                None if None in faults else {unit for unit in faults if unit is not None and unit >= 0}
            )
    for shard, units in sorted(parts.items()):
        for index in sorted(units):
            names = part_names(shard, index)
            expected.update(names)
            if _check(report, files, names, planned, shard, range(index, index + 1)):
                report.broken_parts.append((shard, index))
    for name in sorted(sizes.keys() - expected):
        if _unfinished(name, planned, sealed):  # of a run that goes on or was killed: the next one mends it
            continue
        report.problems.append(f"{name}: does not belong here")
        report.strays.append(name)
    return report


def _unfinished(name: str, planned: Plan, sealed: set[int]) -> bool:
    match = re.fullmatch(re.escape(planned.job.name) + r"-(\d{6,})[.]tar", name)
    return name.startswith(layout.PARTS) or bool(
        match and int(match[1]) < planned.shards and int(match[1]) not in sealed
    )


def _check(
    report: Report, files: Files, names: tuple[str, str], planned: Plan, shard: int, units: range
) -> set[int | None]:
    """One tar and its index, which tell of `units` of the shard. Its units at fault; None in it: who knows which; -1:
    what holds them together."""
    tar_name, index_name = names
    faults: set[int | None] = set()

    def fault(where: str, what: str, unit: int | None = None) -> set[int | None]:
        report.problems.append(f"{where}: {what}")
        faults.add(unit)
        return faults

    try:
        table, written = index_table(files.read(index_name))
        lengths = json.loads(written.get("units", "[]"))
    except (pa.ArrowException, OSError, ValueError) as error:
        return fault(index_name, f"unreadable ({str(error).splitlines()[0]})")
    if table.schema != SCHEMA:
        return fault(index_name, "other columns than an index has")
    rows = table.to_pylist()
    _check_rows(rows, planned, shard, units, lambda what: fault(index_name, what))
    try:
        data = files.read(tar_name)
    except FileNotFoundError:
        if any(row["size"] for row in rows):
            return fault(tar_name, "missing, but its index is there")
        data = b""  # a shard without samples has no tar
    report.bytes += len(data)
    if digest(data) != {key: written.get(key) for key in ("sha256", "bytes")}:
        fault(tar_name, f"its {len(data)} bytes are not the {written.get('bytes')} that were written", -1)
        start = 0
        for unit, (size, sha256) in enumerate(lengths):
            if hashlib.sha256(data[start : start + size]).hexdigest() != sha256:
                fault(tar_name, f"unit {unit} is damaged", unit)
            start += size
        return faults  # what else is wrong follows from that
    try:
        members = list(tar.members(data))
    except tarfile.TarError as error:
        return fault(tar_name, f"not a readable tar ({error})")
    kept = [row for row in rows if row["size"]]
    endings = sample.extensions(planned.job)
    if [name for name, _ in members] != [f"{row['key']}.{ending}" for row in kept for ending in endings]:
        return fault(tar_name, "its members are not those that the index tells of")
    contents = iter(members)
    for row in kept:
        files_of_sample = {ending: next(contents)[1] for ending in endings}
        segment = tar.segment((f"{row['key']}.{ending}", content) for ending, content in files_of_sample.items())
        if data[row["offset"] : row["offset"] + row["size"]] != segment:
            fault(tar_name, f"{row['key']} is not at the offset that the index tells")
        for what in _faults(files_of_sample, row, planned):
            fault(tar_name, f"{row['key']}.{what}", row["unit"])
        report.samples += 1
    return faults


def _check_rows(rows: list[dict], planned: Plan, shard: int, units: range, fault) -> None:
    """One row per planned record, in order, each in a final state."""
    expected = [(unit, *name) for unit in units for name in planned.names(shard, unit)]
    if [row["key"] for row in rows] != [key for _, key, _ in expected]:
        return fault("its keys are not those of the plan")
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


def _faults(files: dict[str, bytes], row: dict, planned: Plan) -> list[str]:
    """What is wrong inside a sample: 'extension: what'."""
    found, size = [], (planned.job.image_size,) * 2
    for ending, content in files.items():
        try:
            if ending.endswith((".jpg", ".png")) or ending == "jpg":
                with Image.open(io.BytesIO(content)) as image:
                    if image.size != size:  # before it is unpacked
                        found.append(f"{ending}: {image.size} px, not {size}")
                    else:
                        image.load()
            elif ending == "json":
                told = SampleJson.model_validate(json.loads(content))
                if any(getattr(told, name) != row[name] for name in ("key", "seed", "prompt", "refined", "people")):
                    found.append(f"{ending}: differs from its index row")
            elif ending == "depth.npy":
                if (array := _array(content)) != (size, np.float32):
                    found.append(f"{ending}: {array[1]} {array[0]}, not float32 {size}")
            else:
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                        raise ValueError("compressed")  # ours never are, and it may unpack to anything
                    shapes = {name.removesuffix(".npy"): _array(archive.read(name))[0] for name in archive.namelist()}
                if shapes != {name: (row["people"], *shape) for name, shape in sample.PERSON.items()}:
                    found.append(f"{ending}: shapes {shapes}")
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
            found.append(f"{ending}: unreadable ({(str(error) or type(error).__name__).splitlines()[0]})")
    return found


def _array(content: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and kind of the .npy, whose length must be what they say. ValueError where it is not."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject or len(content) - stream.tell() != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes are no {dtype} {shape}")
    return shape, dtype

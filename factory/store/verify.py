"""Whether a data set is what its job planned and its indexes say, byte by byte; from storage alone."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from PIL import Image

from factory.plan import Plan, plan
from factory.record import State
from factory.store import layout, sample, tar
from factory.store.fs import LocalFiles
from factory.store.layout import part_names, shard_names
from factory.store.part import SCHEMA, digest, index_table
from factory.store.sample import SampleJson

BESIDE = {layout.JOB, "report.html", "contact.png", "README.md", "preview.jpg", "wids.json"}  # what else belongs there


@dataclass
class Report:
    shards: int = 0  # sealed
    samples: int = 0
    bytes: int = 0
    complete: bool = False  # every planned shard is sealed
    problems: list[str] = field(default_factory=list)  # one line each

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(out: str) -> Report:
    """Reads every byte: shards and parts against their indexes, indexes against the plan, samples against their
    format. UserError where there is no data set."""
    job, files = layout.read_job(out), LocalFiles(out)
    planned, sizes = plan(job), files.sizes()
    sealed, parts = layout.found(planned, sizes)
    report = Report(shards=len(sealed), complete=len(sealed) == planned.shards)
    expected = set(BESIDE)
    for shard in sorted(sealed):
        names = shard_names(planned, shard)
        expected.update(names)
        _check(report, files, names, planned, shard, range(planned.units_in(shard)))
    for shard, units in sorted(parts.items()):
        for index in sorted(units):
            names = part_names(shard, index)
            expected.update(names)
            _check(report, files, names, planned, shard, range(index, index + 1))
    for name in sorted(sizes.keys() - expected):
        if _unfinished(name, planned, sealed):  # of a run that goes on or was killed: the next one mends it
            continue
        report.problems.append(f"{name}: does not belong here")
    return report


def _unfinished(name: str, planned: Plan, sealed: set[int]) -> bool:
    tars = {shard_names(planned, shard)[0] for shard in range(planned.shards) if shard not in sealed}
    return name.startswith(layout.PARTS) or name in tars


def _check(report: Report, files: LocalFiles, names: tuple[str, str], planned: Plan, shard: int, units: range) -> None:
    """One tar and its index, which tell of `units` of the shard."""
    tar_name, index_name = names

    def fault(where: str, what: str) -> None:
        report.problems.append(f"{where}: {what}")

    try:
        table, written = index_table(files.read(index_name))
    except pa.ArrowException as error:
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
        fault(tar_name, f"its {len(data)} bytes are not the {written.get('bytes')} that were written")
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
            fault(tar_name, f"{row['key']}.{what}")
        report.samples += 1


def _check_rows(rows: list[dict], planned: Plan, shard: int, units: range, fault) -> None:
    """One row per planned record, in order, each in a final state."""
    expected = [(unit, *name) for unit in units for name in planned.names(shard, unit)]
    if [row["key"] for row in rows] != [key for _, key, _ in expected]:
        return fault("its keys are not those of the plan")
    if not (planned.job.images or planned.job.poses):  # else a prompt may name what an image shows, and that may be gone
        prompts = [record.prompt for unit in units for record in planned.unit(shard, unit).records]
        for row, prompt in zip(rows, prompts, strict=True):
            if row["prompt"] != prompt:
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
                    image.load()
                    if image.size != size:
                        found.append(f"{ending}: {image.size} px, not {size}")
            elif ending == "json":
                told = SampleJson.model_validate(json.loads(content))
                if any(getattr(told, name) != row[name] for name in ("key", "seed", "prompt", "refined", "people")):
                    found.append(f"{ending}: differs from its index row")
            elif ending == "depth.npy":
                depth = np.load(io.BytesIO(content), allow_pickle=False)
                if depth.shape != size or depth.dtype != np.float32:
                    found.append(f"{ending}: {depth.dtype} {depth.shape}, not float32 {size}")
            else:
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    shapes = {name: arrays[name].shape for name in arrays.files}
                if shapes != {name: (row["people"], *shape) for name, shape in sample.PERSON.items()}:
                    found.append(f"{ending}: shapes {shapes}")
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            found.append(f"{ending}: unreadable ({str(error).splitlines()[0]})")
    return found

"""Takes work back, so that the next run makes it anew: what failed, and what is broken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from factory.plan import Plan, plan
from factory.record import State
from factory.store import layout, lock
from factory.store.fs import Files, open_files
from factory.store.layout import part_names, shard_names
from factory.store.part import digest, index_bytes, index_head, index_table
from factory.store.survey import survey


@dataclass(frozen=True)
class Reopened:
    """Failed records there were, those of them that are open again, and the units that the next run does anew."""

    failed: int
    records: int
    units: int


def retry(out: str, reason: str = "", say: Callable[[str], None] = lambda text: None) -> Reopened:
    """Re-open the failed records whose stage and error hold `reason`, in any case of letters. Rejected ones stay.

    A record is made again with its whole unit: from their seeds the neighbours come out as they were, and the whole as
    if nothing had ever failed. UserError: no data set is there, or a run holds it.
    """
    files = open_files(out)
    planned = plan(layout.stored_job(files, out))
    failed = records = units = 0
    with lock.hold(files, say) as lease:
        found = survey(files, planned, parts=False)
        for shard in sorted(found.sealed):
            index = files.read(shard_names(planned, shard)[1])
            if "failed" in json.loads(index_head(index)["counts"])["states"]:
                count, guilty = _guilty(index, reason)
                failed += count
                if guilty:
                    records, units = records + len(guilty), units + len(set(guilty))
                    lease.check()
                    reopen(files, planned, shard, set(guilty))
        for shard, present in found.parts.items():
            for unit in present:
                tar_name, index_name = part_names(shard, unit)
                count, guilty = _guilty(files.read(index_name), reason)
                failed += count
                if guilty:
                    records, units = records + len(guilty), units + 1
                    lease.check()
                    files.delete([index_name])
                    files.delete([tar_name])
    return Reopened(failed, records, units)


def reopen(files: Files, planned: Plan, shard: int, drop: Collection[int] = ()) -> set[int]:
    """Turn a sealed shard back into its parts, without the units in `drop` and those whose bytes have changed. The
    units that are kept. Killed on the way, the shard is still sealed, or open as asked."""
    tar_name, index_name = shard_names(planned, shard)
    kept = set()
    try:
        table, head = index_table(files.read(index_name))
        lengths = json.loads(head.get("units", "[]"))
    except (pa.ArrowException, OSError, ValueError):
        table, lengths = None, []
    start = 0
    for unit, (size, sha256) in enumerate(lengths):
        data = b""
        if unit not in drop:
            try:
                data = files.read(tar_name, start, size) if size else b""
            except FileNotFoundError:
                break
            if len(data) == size and hashlib.sha256(data).hexdigest() == sha256:
                rows = table.filter(pc.equal(table["unit"], unit))
                rows = moved(rows, -start)
                for name, content in zip(part_names(shard, unit), (data, index_bytes(rows, digest(data))), strict=True):
                    files.put(name, [content])
                kept.add(unit)
        start += size
    files.delete([index_name])  # the mark first: what has none is not there
    files.delete([tar_name])
    return kept


def moved(rows: pa.Table, by: int) -> pa.Table:
    """Rows whose offsets count from `by` bytes further back."""
    offsets = pa.array(rows["offset"].to_numpy() + by)
    return rows.set_column(rows.schema.get_field_index("offset"), "offset", offsets).combine_chunks()


def _guilty(index: bytes, reason: str) -> tuple[int, list[int]]:
    """How many failed records an index tells of, and the unit of each that fits the reason."""
    table = index_table(index)[0]
    rows = table.filter(pc.equal(table["state"], State.FAILED)).to_pylist()
    return len(rows), [row["unit"] for row in rows if reason.lower() in f"{row['stage']}: {row['error']}".lower()]

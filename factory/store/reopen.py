"""Takes work back, so that the next run makes it anew: what failed, and what is broken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from factory.record import State
from factory.store import lock
from factory.store.dataset import DataSet, Place, open_data, read_index
from factory.store.layout import part_names
from factory.store.lock import Lease
from factory.store.opened import most_bytes
from factory.store.part import FINGERPRINT, SCHEMA, Damaged, digest, index_bytes, index_table
from factory.store.survey import survey


@dataclass(frozen=True)
class Reopened:
    """What `retry` has done."""

    failed: int  # records that had failed
    records: int  # those of them that are open again
    units: int  # that the next run makes anew


def retry(out: str, reason: str = "", say: Callable[[str], None] = lambda text: None) -> Reopened:
    """Re-open the failed records whose stage and error hold `reason`, in any case of letters. Rejected ones stay.

    A record is made again with its whole unit. The unit's other records follow from their seeds, so they come out as
    before. UserError: no data set is there, or a run holds it.
    """
    data = open_data(out)
    failed = records = units = 0
    with lock.hold(data.files, say) as lease:
        data = DataSet(data.files, data.plan, data.out)  # as it lies there now
        found = survey(data, parts=False)
        for shard in sorted(found.broken):
            raise Damaged(f"{out}/{data.names((shard, None))[1]}", "unreadable, or not of the tar beside it")
        for shard, head in sorted(found.sealed.items()):
            if "failed" in head.states:
                count, matching = _failed_units(data, (shard, None), reason)
                failed += count
                if matching:
                    records, units = records + len(matching), units + len(set(matching))
                    reopen(data, shard, lease, set(matching))
        for shard, present in found.parts.items():
            for unit in present:
                count, matching = _failed_units(data, (shard, unit), reason)
                failed += count
                if matching:
                    records, units = records + len(matching), units + 1
                    drop(data, (shard, unit), lease)
    return Reopened(failed, records, units)


def reopen(data: DataSet, shard: int, lease: Lease, without: Collection[int] = ()) -> set[int]:
    """Turn a sealed shard back into its parts, and return the units that are kept. Left out are the units in `without`,
    those whose bytes have changed, and all where the shard belongs to another job. A kill on the way leaves the shard
    sealed as it was, or taken apart as asked."""
    tar_name, index_name = data.names((shard, None))
    kept: set[int] = set()
    try:
        index = read_index(data.files, index_name, data.sizes)
        table, head = index_table(index)
        lengths = head.units if head.fingerprint in ("", data.fingerprint) else []
    except (Damaged, FileNotFoundError):
        table, lengths = SCHEMA.empty_table(), []
    start, most = 0, data.job.unit_size * most_bytes(data.job)  # an index of a stranger may claim anything
    for unit, (size, sha256) in enumerate(lengths):
        content = b""
        if unit not in without and size <= most:
            try:
                content = data.files.read(tar_name, start, size) if size else b""
            except FileNotFoundError:
                break
            if len(content) == size and hashlib.sha256(content).hexdigest() == sha256:
                rows = moved(table.filter(pc.equal(table["unit"], unit)), -start)
                written = index_bytes(rows, {**digest(content), FINGERPRINT: data.fingerprint})
                for name, chunk in zip(part_names(shard, unit), (content, written), strict=True):
                    data.files.put(name, [chunk], lease.check)
                kept.add(unit)
        start += size
    drop(data, (shard, None), lease)
    return kept


def drop(data: DataSet, place: Place, lease: Lease) -> None:
    """Take a shard or a part away, the mark first: what has none is not there."""
    for name in reversed(data.names(place)):
        lease.check()
        data.files.delete([name])


def moved(rows: pa.Table, by: int) -> pa.Table:
    """Rows whose offsets count from `by` bytes further back."""
    offsets = pa.array(rows["offset"].to_numpy() + by)
    return rows.set_column(rows.schema.get_field_index("offset"), "offset", offsets).combine_chunks()


def _failed_units(data: DataSet, place: Place, reason: str) -> tuple[int, list[int]]:
    """(failed records of a shard or part, the unit of each whose stage and error hold `reason`). Raises Damaged."""
    table = data.table(place)
    rows = table.filter(pc.equal(table["state"], State.FAILED)).to_pylist()
    return len(rows), [row["unit"] for row in rows if reason.lower() in f"{row['stage']}: {row['error']}".lower()]

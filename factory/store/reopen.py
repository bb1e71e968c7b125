"""Takes work back, so that the next run makes it anew: what failed, and what is broken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

import pyarrow.compute as pc

from factory.record import State
from factory.store import lock
from factory.store.dataset import DataSet, open_data
from factory.store.decode import most_sample_bytes
from factory.store.index import FINGERPRINT, SCHEMA, Damaged, index_bytes, moved, tar_digest
from factory.store.layout import Archive, part_archive
from factory.store.lock import Lease
from factory.store.status import survey_data


@dataclass(frozen=True)
class Reopened:
    """What `retry` has done."""

    failed: int  # records that had failed
    records: int  # those of them that are open again
    units: int  # that the next run makes anew


def retry(out: str, reason: str = "", say: Callable[[str], None] = lambda text: None) -> Reopened:
    """Re-open the failed records whose stage and error hold `reason`, in upper or lower case. Rejected ones stay.

    A record is made again with its whole unit. The unit's other records follow from their seeds, so they come out as
    before. UserError: there is no data set, or a run holds it.
    """
    data = open_data(out)
    failed = records = units = 0
    with lock.hold(data.files, say) as lease:
        data = data.listed_anew()  # it may have changed before the lock was held
        survey = survey_data(data, count_parts=False)
        for shard in sorted(survey.broken):
            raise Damaged(f"{out}/{data.shard(shard).index_name}", "unreadable, or not of the tar beside it")
        with_failed = [data.shard(shard) for shard, head in sorted(survey.sealed.items()) if "failed" in head.states]
        parts = [part_archive(shard, unit) for shard, present in survey.parts.items() for unit in present]
        for archive in with_failed + parts:
            count, matching = _failed_units(data, archive, reason)
            failed += count
            if not matching:
                continue
            records, units = records + len(matching), units + len(set(matching))
            if archive.sealed:
                reopen_shard(data, archive.shard, lease, set(matching))
            else:
                drop_archive(data, archive, lease)
    return Reopened(failed, records, units)


def reopen_shard(data: DataSet, shard: int, lease: Lease, without: Collection[int] = ()) -> set[int]:
    """Turn a sealed shard back into its parts, and return the units that are kept. Units in `without` are left out, and
    so are those whose bytes have changed, and all where the shard belongs to another job. A kill on the way leaves the
    shard sealed as it was, or taken apart as asked."""
    archive = data.shard(shard)
    kept: set[int] = set()
    try:
        table, head = data.read_index(archive).table()
        lengths = head.units if head.fingerprint in ("", data.fingerprint) else []
    except Damaged:
        table, lengths = SCHEMA.empty_table(), []
    start, most = 0, data.job.unit_size * most_sample_bytes(data.job)  # the index of a stranger may claim anything
    for unit, (size, sha256) in enumerate(lengths):
        content = b""
        if unit not in without and size <= most:
            try:
                content = data.files.read(archive.tar_name, start, size) if size else b""
            except FileNotFoundError:
                break
            if len(content) == size and hashlib.sha256(content).hexdigest() == sha256:
                rows, part = moved(table.filter(pc.equal(table["unit"], unit)), -start), part_archive(shard, unit)
                index = index_bytes(rows, {**tar_digest(content), FINGERPRINT: data.fingerprint})
                data.files.put(part.tar_name, [content], lease.check)
                data.files.put(part.index_name, [index], lease.check)
                kept.add(unit)
        start += size
    drop_archive(data, archive, lease)
    return kept


def drop_archive(data: DataSet, archive: Archive, lease: Lease) -> None:
    """Remove a shard or a part: the index first, because without it the tar does not count."""
    for name in (archive.index_name, archive.tar_name):
        lease.check()
        data.files.delete([name])


def _failed_units(data: DataSet, archive: Archive, reason: str) -> tuple[int, list[int]]:
    """(failed records of a shard or part, the unit of each whose stage and error hold `reason`). Raises Damaged."""
    table = data.read_index(archive).table()[0]
    rows = table.filter(pc.equal(table["state"], State.FAILED)).to_pylist()
    return len(rows), [row["unit"] for row in rows if reason.lower() in f"{row['stage']}: {row['error']}".lower()]

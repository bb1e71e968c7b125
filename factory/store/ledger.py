"""The only writer of a data set; what is done is told by the objects on storage alone.

    OUT/job.json                            the job, whole
    OUT/parts/000000/000000.tar .parquet    a unit: the tar is written first; the parquet marks it as done
    OUT/NAME-000000.tar .parquet            a shard: its parts in a row; the parquet seals it; then the parts go
    OUT/.lock                               held by the run that writes

Whatever the moment of a kill, every object is whole and its mark is last. What has no mark is done again, to the same
name and the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import Plan
from factory.store import layout, lock
from factory.store.begun import require_same_images, require_same_job
from factory.store.dataset import DataSet
from factory.store.disk import free_space
from factory.store.fs import Files, LocalFiles, open_files, read_or_none
from factory.store.index import FINGERPRINT, LARGEST_INDEX, Damaged, Head, index_bytes, index_table, moved, tar_digest
from factory.store.job_json import JOB_BYTES, StoredJob, decode_job, encode_job
from factory.store.layout import JOB, part_archive
from factory.store.lock import Lease
from factory.store.mark import in_use
from factory.store.part import Part
from factory.store.read_ahead import in_order
from factory.store.reopen import reopen_shard
from factory.store.status import survey_data
from factory.store.tar import tar_trailer


class Ledger:
    """Commits units and seals shards. Only `open_ledger` makes one: it holds the lock.

    sealed: the sealed shards. units_found: units that earlier runs have done. states, reasons: records by state, and
    rejected records by reason, of all that is done.
    """

    def __init__(self, data: DataSet, lease: Lease, say: Callable[[str], None] = lambda text: None) -> None:
        self.data, self.files, self.plan, self.lease = data, data.files, data.plan, lease
        self._recover(say)
        self.units_found = sum(map(self.plan.units_in, self.sealed)) + sum(map(len, self._parts.values()))

    def missing(self) -> Iterator[tuple[int, int]]:
        """(shard, unit) of the units still to do, in order."""
        return ((s, u) for s, u in self.plan.ids() if s not in self.sealed and u not in self._parts.get(s, ()))

    def commit(self, shard: int, unit: int, part: Part) -> tuple[Counter[str], Counter[str]]:
        """Make a unit's part durable. Returns (records by state, rejected records by reason) of the unit."""
        table, _ = index_table(part.rows)
        archive = part_archive(shard, unit)
        self.files.put(archive.tar_name, [part.tar], self.lease.check)
        self.files.put(archive.index_name, [self._index_bytes(table, tar_digest(part.tar))], self.lease.check)
        self._parts.setdefault(shard, set()).add(unit)
        return self._count(table)

    def seal(self, shard: int) -> bool:
        """Make the shard out of its parts if they are all there. Returns whether it was sealed now."""
        if shard in self.sealed or len(self._parts.get(shard, ())) < self.plan.units_in(shard):
            return False
        try:
            self._seal(shard)
        except UserError:
            self.lease.check()  # if others have taken over, they have sealed it: parts that are gone are no damage
            raise
        self.sealed.add(shard)
        self._parts.pop(shard)
        self._drop_parts(shard)
        return True

    def _seal(self, shard: int) -> None:
        parts = [part_archive(shard, unit) for unit in range(self.plan.units_in(shard))]
        tables, units, size = [], [], 0
        for index in self.data.read_indexes(parts):
            table, head = index.table()
            tables.append(moved(table, size))
            units.append((head.bytes, head.sha256))
            size += head.bytes
        sha256, end = hashlib.sha256(), tar_trailer(size) if size else b""

        def chunks() -> Iterator[bytes]:
            tars = in_order(lambda part: read_or_none(self.files, part.tar_name), parts, self.files, lambda part: 0)
            for part, (_, expected), chunk in zip(parts, units, tars, strict=True):
                if chunk is None or hashlib.sha256(chunk).hexdigest() != expected:
                    raise UserError(f"output: {part.tar_name} was changed or taken away under a running run; run again")
                sha256.update(chunk)
                yield chunk
            sha256.update(end)
            yield end

        archive = self.data.shard(shard)
        if size:
            self.files.put(archive.tar_name, chunks(), self.lease.check)
        else:  # a shard without samples has no tar: Hugging Face's loader stops at an empty one
            self.lease.check()
            self.files.delete([archive.tar_name])
        written = {"sha256": sha256.hexdigest(), "bytes": str(size + len(end)), "units": json.dumps(units)}
        rows = self._index_bytes(pa.concat_tables(tables), written)
        self.files.put(archive.index_name, [rows], self.lease.check)

    def _index_bytes(self, rows: pa.Table, written: dict[str, str]) -> bytes:
        return index_bytes(rows, {**written, FINGERPRINT: self.data.fingerprint})

    def _recover(self, say: Callable[[str], None]) -> None:
        """Go on from what a killed run has left: sweep, take apart damaged shards, drop damaged parts, seal what is
        complete. One listing, and one more where there is damage."""
        self.files.sweep(layout.FOLDERS)
        survey = survey_data(self.data, count_parts=False)
        if survey.broken:
            for shard in sorted(survey.broken):
                reopen_shard(self.data, shard, self.lease)
            self.data = self.data.listed_anew()
            survey = survey_data(self.data, count_parts=False)
        self.sealed, self._parts = set(survey.sealed), survey.parts
        self.states, self.reasons = survey.states, survey.reasons
        folders = {name.split("/")[1] for name in self.data.sizes if name.startswith(layout.PARTS_FOLDER)}
        for shard in sorted(self.sealed):
            if f"{shard:06d}" in folders:
                self._drop_parts(shard)
        self._drop_unsound_parts(say)
        for shard in sorted(self._parts):
            self.seal(shard)

    def _drop_unsound_parts(self, say: Callable[[str], None]) -> None:
        """Count the parts that are as they were written for this data set; forget the others, so that they are made
        anew."""
        old, foreign = 0, []
        for shard, units in sorted(self._parts.items()):
            for unit in sorted(units):
                sound = self._sound(shard, unit)
                if sound and self._ours(shard, unit, *sound):
                    self._count(sound[0])
                    old += not sound[1].fingerprint
                else:
                    units.remove(unit)
                    foreign += [part_archive(shard, unit).index_name] * bool(sound)
        if foreign:
            say(f"{self.files.address}: {len(foreign):,} units belong to another job, such as {foreign[0]}: made anew")
        if old and self.data.fingerprint:
            say(f"{self.files.address}: {old:,} units are an earlier version's, with this job's keys and seeds: kept")

    def _sound(self, shard: int, unit: int) -> tuple[pa.Table, Head] | None:
        """The part's rows and head, or None where its bytes are not what was written: then it is done again."""
        archive = part_archive(shard, unit)
        try:
            table, head = index_table(self.files.read(archive.index_name, 0, LARGEST_INDEX))
            data = self.files.read(archive.tar_name)
        except (FileNotFoundError, Damaged):
            return None
        return (table, head) if tar_digest(data) == {"sha256": head.sha256, "bytes": str(head.bytes)} else None

    def _ours(self, shard: int, unit: int, table: pa.Table, head: Head) -> bool:
        """Whether the part was made for this data set: parts that a user copied here are sound too."""
        rows = zip(table["shard"].to_pylist(), table["unit"].to_pylist(), table["key"].to_pylist(),
                   table["seed"].to_pylist(), strict=True)  # fmt: skip
        planned = [(shard, unit, *name) for name in self.plan.names(shard, unit)]
        return head.fingerprint in ("", self.data.fingerprint) and list(rows) == planned

    def _drop_parts(self, shard: int) -> None:
        self.lease.check()
        parts = (part_archive(shard, unit) for unit in range(self.plan.units_in(shard)))
        self.files.delete(name for part in parts for name in (part.tar_name, part.index_name))

    def _count(self, table: pa.Table) -> tuple[Counter[str], Counter[str]]:
        states = Counter(table["state"].to_pylist())
        reasons = Counter(reason for reason in table["reason"].to_pylist() if reason)
        self.states += states
        self.reasons += reasons
        return states, reasons


@contextmanager
def open_ledger(
    job: JobSpec, plan: Plan, inputs: dict[str, str] | None = None, say: Callable[[str], None] = lambda text: None
) -> Iterator[Ledger]:
    """The job's data set, opened for writing and begun where there is none, after `require_writable`. `inputs` as
    contents.made_from gives them; `say` gets a line where it waits. UserError where another run holds the data set, has
    begun another job there since, or is of a newer version."""
    files = open_files(job.output)
    inputs = inputs or {}
    with lock.hold(files, say) as lease:
        stored = _require_ours(files, job, inputs)  # another run may have begun one in between
        begin = stored is None
        if stored is None:
            content = encode_job(job, inputs)
            files.put(JOB, [content], lease.check)
            stored = decode_job(content, files.address)
        lease.needs.append(JOB)
        ledger = Ledger(DataSet(files, plan, stored), lease, say)
        if not begin and ledger.units_found < plan.units and (completed := stored.with_inputs(inputs)):
            files.put(JOB, [completed], lease.check)
        yield ledger


def require_writable(job: JobSpec, plan: Plan, inputs: dict[str, str] | None = None) -> int:
    """The number of units that are left to do, by the names on storage. Touches nothing; one listing.

    UserError where this job must not write to its output: a live run is there, another job's data or the same job's
    from other `inputs` (see contents.made_from), a newer version's data, other files, or too little room; or where
    units are left and the job's images or poses are not there."""
    files = open_files(job.output)
    sizes = files.sizes()
    if isinstance(files, LocalFiles) and files.root.exists() and not files.root.is_dir():
        raise UserError(f"output: {files.address} cannot be used (it is a file); write elsewhere")
    stored = _require_ours(files, job, inputs or {}) if JOB in sizes else None
    if sizes and stored is None:
        raise UserError(f"output: {files.address} holds files but no data set (such as {min(sizes)}); write elsewhere")
    if live := lock.local_holder(files):
        raise in_use(files.address, live)
    sealed, parts = layout.list_done(plan, sizes)
    left = plan.units - sum(map(plan.units_in, sealed)) - sum(map(len, parts.values()))
    if left and plan.sources and stored:
        require_same_images(DataSet(files, plan, stored))
    if left and isinstance(files, LocalFiles):
        _require_room(files.root, plan, left)
    return left


def _require_ours(files: Files, job: JobSpec, inputs: dict[str, str]) -> StoredJob | None:
    """The job.json of this job's data, None where there are no data. UserError where they are another job's."""
    try:
        stored = decode_job(files.read(JOB, 0, JOB_BYTES + 1), files.address)
    except FileNotFoundError:
        return None
    require_same_job(stored, job, inputs, files.address)
    return stored


def _require_room(root: Path, plan: Plan, left: int) -> None:
    """UserError where the units that are left do not fit on the disk. What is done needs no more room; a shard that is
    being sealed lies there twice."""
    spare = min(plan.records, plan.job.samples_per_shard)
    need = (min(left * plan.job.unit_size, plan.records) + spare) * plan.sample_bytes
    there, free = free_space(root)
    if free < need:
        raise UserError(
            f"output: {there} has {free / 1e9:.1f} GB free and the plan takes about {need / 1e9:.1f} GB; "
            "make room, write elsewhere, or lower records or sample.extras"
        )

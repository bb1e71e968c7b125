"""What is done, by the objects on storage alone; and the only writer of them.

    OUT/job.json                            the job, whole
    OUT/parts/000000/000000.tar .parquet    a unit: the tar first; the parquet marks it as done
    OUT/NAME-000000.tar .parquet            a shard: its parts in a row; the parquet seals it; then its parts go
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
from factory.store import layout, lock, tar
from factory.store.begun import begun, completed, job_json, require_same_images
from factory.store.dataset import DataSet, fetch
from factory.store.disk import free_space
from factory.store.fs import Files, LocalFiles, open_files
from factory.store.layout import JOB, part_names, shard_names
from factory.store.lock import Lease
from factory.store.part import FINGERPRINT, LARGEST, Damaged, Head, Part, digest, index_bytes, index_table
from factory.store.reopen import moved, reopen
from factory.store.status import read_index as read_index
from factory.store.survey import survey


class Ledger:
    """Commits units and seals shards. Only `open_ledger` makes one: it holds the lock."""

    def __init__(self, files: Files, plan: Plan, lease: Lease, say: Callable[[str], None] = lambda text: None) -> None:
        self.files, self.plan, self.lease, self.fingerprint = files, plan, lease, layout.fingerprint(files)
        self._recover(say)
        self.units_found = sum(map(plan.units_in, self.sealed)) + sum(map(len, self._parts.values()))

    def missing(self) -> Iterator[tuple[int, int]]:
        """(shard, index) of the units still to do, in order."""
        return ((s, u) for s, u in self.plan.ids() if s not in self.sealed and u not in self._parts.get(s, ()))

    def commit(self, shard: int, index: int, part: Part) -> tuple[Counter[str], Counter[str]]:
        """Make a unit's part durable. Returns its records by state, and its rejected ones by reason."""
        table, _ = index_table(part.rows)
        rows = index_bytes(table, {**digest(part.tar), FINGERPRINT: self.fingerprint})
        for name, data in zip(part_names(shard, index), (part.tar, rows), strict=True):
            self.files.put(name, [data], self.lease.check)
        self._parts.setdefault(shard, set()).add(index)
        return self._count(table)

    def seal(self, shard: int) -> bool:
        """Make the shard out of its parts if they are all there; says whether it did."""
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
        names = [part_names(shard, index) for index in range(self.plan.units_in(shard))]
        tables, units, size = [], [], 0
        for (_, index_name), data in zip(names, fetch(self.files, (name for _, name in names)), strict=True):
            table, part = index_table(data, f"{self.files.where}/{index_name}")
            tables.append(moved(table, size))
            units.append((part.bytes, part.sha256))
            size += part.bytes
        sha256, end = hashlib.sha256(), tar.trailer(size) if size else b""

        def chunks() -> Iterator[bytes]:
            stream = fetch(self.files, (tar_name for tar_name, _ in names))
            for (tar_name, _), (_, expected), chunk in zip(names, units, stream, strict=True):
                if chunk is None or hashlib.sha256(chunk).hexdigest() != expected:
                    raise UserError(f"output: {tar_name} was changed or taken away under a running run; run again")
                sha256.update(chunk)
                yield chunk
            sha256.update(end)
            yield end

        tar_name, index_name = shard_names(self.plan, shard)
        if size:
            self.files.put(tar_name, chunks(), self.lease.check)
        else:  # a shard without samples has no tar: Hugging Face's loader stops at an empty one
            self.lease.check()
            self.files.delete([tar_name])
        whole = {"sha256": sha256.hexdigest(), "bytes": str(size + len(end)), "units": json.dumps(units),
                 FINGERPRINT: self.fingerprint}  # fmt: skip
        self.files.put(index_name, [index_bytes(pa.concat_tables(tables), whole)], self.lease.check)

    def _recover(self, say: Callable[[str], None]) -> None:
        """Go on from what a killed run has left: sweep, take apart damaged shards, drop damaged parts, seal what is
        complete. One listing, and one more where there is damage."""
        self.files.sweep(layout.FOLDERS)
        data = DataSet(self.files, self.plan)
        found = survey(data, parts=False)
        if found.broken:
            for shard in sorted(found.broken):
                reopen(data, shard, self.lease)
            found = survey(DataSet(self.files, self.plan), parts=False)
        self.sealed, self._parts, self.states, self.reasons = (
            set(found.sealed),
            found.parts,
            found.states,
            found.reasons,
        )
        folders = {name.split("/")[1] for name in found.sizes if name.startswith(layout.PARTS)}
        for shard in sorted(self.sealed):
            if f"{shard:06d}" in folders:
                self._drop_parts(shard)
        old, foreign = 0, []
        for shard, units in sorted(self._parts.items()):
            for index in sorted(units):
                sound = self._sound(shard, index)
                if sound and self._ours(shard, index, *sound):
                    self._count(sound[0])
                    old += not sound[1].fingerprint
                else:
                    units.remove(index)
                    foreign += [part_names(shard, index)[1]] * bool(sound)
        if foreign:
            say(f"{self.files.where}: {len(foreign):,} units belong to another job, such as {foreign[0]}: made anew")
        if old and self.fingerprint:
            say(f"{self.files.where}: {old:,} units are an earlier version's, with this job's keys and seeds: kept")
        for shard in sorted(self._parts):
            self.seal(shard)

    def _sound(self, shard: int, index: int) -> tuple[pa.Table, Head] | None:
        """The part's rows and head, or None where its bytes are not what was written: then it is done again."""
        tar_name, index_name = part_names(shard, index)
        try:
            table, head = index_table(self.files.read(index_name, 0, LARGEST))
            data = self.files.read(tar_name)
        except (FileNotFoundError, Damaged):
            return None
        return (table, head) if digest(data) == {"sha256": head.sha256, "bytes": str(head.bytes)} else None

    def _ours(self, shard: int, index: int, table: pa.Table, head: Head) -> bool:
        """Whether the part was made for this data set: parts that somebody copied here are sound too."""
        rows = zip(table["shard"].to_pylist(), table["unit"].to_pylist(), table["key"].to_pylist(),
                   table["seed"].to_pylist(), strict=True)  # fmt: skip
        planned = [(shard, index, *name) for name in self.plan.names(shard, index)]
        return head.fingerprint in ("", self.fingerprint) and list(rows) == planned

    def _drop_parts(self, shard: int) -> None:
        self.lease.check()
        self.files.delete(name for i in range(self.plan.units_in(shard)) for name in part_names(shard, i))

    def _count(self, table: pa.Table) -> tuple[Counter[str], Counter[str]]:
        states = Counter(table["state"].to_pylist())
        reasons = Counter(reason for reason in table["reason"].to_pylist() if reason)
        self.states += states
        self.reasons += reasons
        return states, reasons


@contextmanager
def open_ledger(
    job: JobSpec, plan: Plan, contents: dict[str, str] | None = None, say: Callable[[str], None] = lambda text: None
) -> Iterator[Ledger]:
    """The job's data set, opened for writing and begun where there is none, after a `check`. UserError where another
    run holds it or has begun another job there since; `say` gets a line where it waits."""
    files = open_files(job.output)
    contents = contents or {}
    with lock.hold(files, say) as lease:
        stored = begun(files, job, contents)  # another run may have begun one in between
        if stored is None:
            files.put(JOB, [job_json(job, contents)], lease.check)
        lease.needs.append(JOB)
        ledger = Ledger(files, plan, lease, say)
        if stored and ledger.units_found < plan.units and (whole := completed(stored, contents)):
            files.put(JOB, [whole], lease.check)
        yield ledger


def check(job: JobSpec, plan: Plan, contents: dict[str, str] | None = None) -> int:
    """How many units are left, by the names on storage. UserError where this job must not write to its output: a live
    run is there, another job's data or the same job's from other `contents` (see `contents.made_from`), somebody's
    files, or too little room; or where units are left and the job's images or poses are not there. Touches nothing; one
    listing."""
    files = open_files(job.output)
    sizes = files.sizes()
    if isinstance(files, LocalFiles) and files.root.exists() and not files.root.is_dir():
        raise UserError(f"output: {files.where} cannot be used (it is a file); write elsewhere")
    stored = begun(files, job, contents or {}) if JOB in sizes else None
    if sizes and stored is None:
        raise UserError(f"output: {files.where} holds files but no data set (such as {min(sizes)}); write elsewhere")
    if live := lock.seen(files):
        raise lock.in_use(files.where, live)
    sealed, parts = layout.found(plan, sizes)
    left = plan.units - sum(map(plan.units_in, sealed)) - sum(map(len, parts.values()))
    if left and plan.sources and stored:
        require_same_images(files, plan, stored, [*((shard, None) for shard in sorted(sealed)), *sorted(parts.items())])
    if left and isinstance(files, LocalFiles):
        _check_room(files.root, plan, left)
    return left


def _check_room(root: Path, plan: Plan, left: int) -> None:
    """What is done needs no room; a shard that is being sealed lies there twice."""
    spare = min(plan.records, plan.job.samples_per_shard)
    need = (min(left * plan.job.unit_size, plan.records) + spare) * plan.sample_bytes
    there, free = free_space(root)
    if free < need:
        raise UserError(
            f"output: {there} has {free / 1e9:.1f} GB free and the plan takes about {need / 1e9:.1f} GB; "
            "make room, write elsewhere, or lower records or sample.extras"
        )

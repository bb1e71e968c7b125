"""What is done, told by what lies on storage; and the only writer of it.

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
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import Plan
from factory.store import layout, lock, tar
from factory.store.fs import LocalFiles
from factory.store.layout import JOB, part_names, shard_names
from factory.store.layout import read_job as read_job
from factory.store.part import Part, digest, index_bytes, index_table
from factory.store.status import Status as Status
from factory.store.status import read_index as read_index
from factory.store.status import read_sample as read_sample
from factory.store.status import status as status

MADE_WITH = ("factory", "torch", "diffusers", "transformers", "numpy", "pillow")


class Ledger:
    """Commits units and seals shards. Only `open_ledger` makes one: it holds the lock."""

    def __init__(self, files: LocalFiles, plan: Plan) -> None:
        self.files, self.plan = files, plan
        self.states: Counter[str] = Counter()  # of all that is committed
        self.reasons: Counter[str] = Counter()
        self._recover()
        self.units_found = sum(map(plan.units_in, self.sealed)) + sum(map(len, self._parts.values()))

    def missing(self) -> Iterator[tuple[int, int]]:
        """(shard, index) of the units still to do, in order."""
        return ((s, u) for s, u in self.plan.ids() if s not in self.sealed and u not in self._parts.get(s, ()))

    def commit(self, shard: int, index: int, part: Part) -> tuple[Counter[str], Counter[str]]:
        """Make a unit's part durable. Returns its records by state, and its rejected ones by reason."""
        for name, data in zip(part_names(shard, index), part, strict=True):
            self.files.put(name, [data])
        self._parts.setdefault(shard, set()).add(index)
        return self._count(index_table(part.rows)[0])

    def seal(self, shard: int) -> bool:
        """Make the shard out of its parts if they are all there; says whether it did."""
        if shard in self.sealed or len(self._parts.get(shard, ())) < self.plan.units_in(shard):
            return False
        names = [part_names(shard, index) for index in range(self.plan.units_in(shard))]
        tables, size = [], 0
        for _, index_name in names:
            table, part = index_table(self.files.read(index_name))
            offset = pa.array(table["offset"].to_numpy() + size)
            tables.append(table.set_column(table.schema.get_field_index("offset"), "offset", offset))
            size += int(part["bytes"])
        sha256, end = hashlib.sha256(), tar.trailer(size) if size else b""

        def chunks() -> Iterator[bytes]:  # one part in memory at a time
            for tar_name, _ in names:
                chunk = self.files.read(tar_name)
                sha256.update(chunk)
                yield chunk
            sha256.update(end)
            yield end

        tar_name, index_name = shard_names(self.plan, shard)
        if size:  # a shard without samples has no tar: Hugging Face's loader stops at an empty one
            self.files.put(tar_name, chunks())
        whole = {"sha256": sha256.hexdigest(), "bytes": str(size + len(end))}
        self.files.put(index_name, [index_bytes(pa.concat_tables(tables), whole)])
        self.sealed.add(shard)
        self._parts.pop(shard)
        self._drop_parts(shard)
        return True

    def _recover(self) -> None:
        """Go on from what a killed run has left: sweep, drop damaged parts, seal what is complete."""
        self.files.sweep()
        sizes = self.files.sizes()
        self.sealed, self._parts = layout.found(self.plan, sizes)
        folders = {name.split("/")[1] for name in sizes if name.startswith(layout.PARTS)}
        for shard in sorted(self.sealed):
            if f"{shard:06d}" in folders:
                self._drop_parts(shard)
            self._count(index_table(self.files.read(shard_names(self.plan, shard)[1]))[0])
        for shard, units in sorted(self._parts.items()):
            for index in sorted(units):
                table = self._sound(shard, index)
                if table is None:
                    units.remove(index)
                else:
                    self._count(table)
        for shard in sorted(self._parts):
            self.seal(shard)

    def _sound(self, shard: int, index: int) -> pa.Table | None:
        """The part's rows, or None where its bytes are not what was written: then it is done again."""
        tar_name, index_name = part_names(shard, index)
        try:
            table, written = index_table(self.files.read(index_name))
            return table if digest(self.files.read(tar_name)) == written else None
        except (FileNotFoundError, pa.ArrowException):
            return None

    def _drop_parts(self, shard: int) -> None:
        self.files.delete(name for i in range(self.plan.units_in(shard)) for name in part_names(shard, i))

    def _count(self, table: pa.Table) -> tuple[Counter[str], Counter[str]]:
        states = Counter(table["state"].to_pylist())
        reasons = Counter(reason for reason in table["reason"].to_pylist() if reason)
        self.states += states
        self.reasons += reasons
        return states, reasons


@contextmanager
def open_ledger(job: JobSpec, plan: Plan) -> Iterator[Ledger]:
    """The job's data set, opened for writing and begun where there is none. UserError as `check`."""
    files = LocalFiles(job.output)
    check(job, plan)
    with lock.hold(files.root):
        check(job, plan, mine=True)  # another run may have begun one in between
        if not (files.root / JOB).exists():
            files.put(JOB, [_job_json(job)])
        yield Ledger(files, plan)


def check(job: JobSpec, plan: Plan, mine: bool = False) -> None:
    """UserError where this job must not write to its output: a live run is there (unless the lock is `mine`), another
    job's data, somebody's files, or too little room. Touches nothing."""
    root = Path(job.output)
    try:
        names = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    except FileNotFoundError:
        names = set()
    except OSError as error:
        raise UserError(f"output: {root} cannot be used ({error.strerror}); write elsewhere") from None
    if JOB in names:
        here, there = layout.identity(job), layout.identity(read_job(job.output))
        fields = [name for name in here | there if here.get(name) != there.get(name)]
        differ = [f"{name}: {there.get(name, 'absent')} there, {here.get(name, 'absent')} here" for name in fields]
        if differ:
            raise UserError(f"output: {root} holds another job's data ({'; '.join(differ)}); write elsewhere")
    elif names:
        raise UserError(f"output: {root} holds files but no data set (such as {min(names)}); write elsewhere")
    if not mine and (live := lock.holder(root)):
        raise lock.in_use(root, live)
    _check_room(root, plan)


def units_left(plan: Plan) -> int:
    """Units that are not yet committed, by the names on storage."""
    sealed, parts = layout.found(plan, LocalFiles(plan.job.output).sizes())
    return plan.units - sum(map(plan.units_in, sealed)) - sum(map(len, parts.values()))


def _check_room(root: Path, plan: Plan) -> None:
    """What is done needs no room; a shard that is being sealed lies there twice."""
    left = units_left(plan)
    if not left:
        return
    spare = min(plan.records, plan.job.samples_per_shard)
    need = (min(left * plan.job.unit_size, plan.records) + spare) * plan.sample_bytes
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < need:
        raise UserError(
            f"output: {there} has {free / 1e9:.1f} GB free and the plan takes about {need / 1e9:.1f} GB; "
            "make room, write elsewhere, or lower records or sample.extras"
        )


def _job_json(job: JobSpec) -> bytes:
    """The job and what it was made with: same job, hardware and software give the same bytes."""
    identity = json.dumps(layout.identity(job), sort_keys=True).encode()
    content = {
        "job": job.model_dump(mode="json"),
        "fingerprint": hashlib.sha256(identity).hexdigest(),
        "made_with": {name: version(name) for name in MADE_WITH},
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode()

"""How far a data set is, and its rows and samples: from storage alone, while a run writes or long after."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from factory.plan import plan
from factory.store import layout, lock, tar
from factory.store.fs import LocalFiles
from factory.store.layout import part_names, read_job, shard_names
from factory.store.lock import Holder
from factory.store.part import SCHEMA, index_table


@dataclass(frozen=True)
class Status:
    name: str
    planned: int  # records
    shards_planned: int
    shards_sealed: int
    units_planned: int
    units_done: int
    states: dict[str, int]  # of the records that are done
    reasons: dict[str, int]  # of the rejected ones
    bytes: int
    live: Holder | None  # the run that writes now
    job: dict  # as stored

    @property
    def complete(self) -> bool:
        return self.shards_sealed == self.shards_planned


def status(out: str) -> Status:
    """UserError where there is no data set."""
    job, files = read_job(out), LocalFiles(out)
    planned, sizes = plan(job), files.sizes()
    sealed, parts = layout.found(planned, sizes)
    rows = read_index(out)
    return Status(
        name=job.name,
        planned=planned.records,
        shards_planned=planned.shards,
        shards_sealed=len(sealed),
        units_planned=planned.units,
        units_done=sum(map(planned.units_in, sealed)) + sum(map(len, parts.values())),
        states=dict(Counter(rows["state"].to_pylist())),
        reasons=dict(Counter(reason for reason in rows["reason"].to_pylist() if reason)),
        bytes=sum(size for name, size in sizes.items() if name.endswith((".tar", ".parquet"))),
        live=lock.holder(Path(out)),
        job=job.model_dump(mode="json"),
    )


def read_index(out: str) -> pa.Table:
    """The rows (SCHEMA) of all that is done, sealed or not, in the plan's order. An unsealed row's offset counts from
    the start of its part."""
    job, files = read_job(out), LocalFiles(out)
    planned = plan(job)
    sealed, parts = layout.found(planned, files.sizes())

    def tables() -> Iterator[pa.Table]:
        for shard in sorted(sealed | parts.keys()):
            names = [part_names(shard, i)[1] for i in sorted(parts.get(shard, ()))]
            whole = shard_names(planned, shard)[1]
            try:
                yield from [index_table(files.read(name))[0] for name in ([whole] if shard in sealed else names)]
            except FileNotFoundError:  # sealed since we looked: its parts are gone
                yield index_table(files.read(whole))[0]

    return pa.concat_tables([SCHEMA.empty_table(), *tables()])


def read_sample(out: str, row: dict) -> dict[str, bytes]:
    """Extension -> bytes of the sample of an index row with size > 0. KeyError where there is none."""
    files, shard = LocalFiles(out), row["shard"]
    sealed = shard_names(plan(read_job(out)), shard)
    for tar_name, index_name in (sealed, part_names(shard, row["unit"]), sealed):  # it may be sealed at any moment
        with contextlib.suppress(FileNotFoundError):
            table = index_table(files.read(index_name))[0]
            place = table.filter(pc.equal(table["key"], row["key"])).to_pylist()
            if place and place[0]["size"]:
                data = files.read(tar_name, place[0]["offset"], place[0]["size"])
                return {name.partition(".")[2]: content for name, content in tar.members(data)}
    raise KeyError(row["key"])

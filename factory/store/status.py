"""How far a data set is, and its rows and samples: from storage alone, while a run writes or long after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from factory.errors import UserError
from factory.plan import plan
from factory.store import layout, lock, opened
from factory.store.fs import open_files
from factory.store.layout import part_names, read_job, shard_names
from factory.store.lock import Holder
from factory.store.part import SCHEMA, index_table
from factory.store.survey import survey
from factory.untrusted import Unreadable


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
    job, files = read_job(out), open_files(out)
    planned = plan(job)
    found = survey(files, planned, parts=True)
    return Status(
        name=job.name,
        planned=planned.records,
        shards_planned=planned.shards,
        shards_sealed=len(found.sealed),
        units_planned=planned.units,
        units_done=sum(map(planned.units_in, found.sealed)) + sum(map(len, found.parts.values())),
        states=dict(found.states),
        reasons=dict(found.reasons),
        bytes=sum(size for name, size in found.sizes.items() if name.endswith((".tar", ".parquet"))),
        live=lock.holder(files),
        job=job.model_dump(mode="json"),
    )


def read_index(out: str) -> pa.Table:
    """The rows (SCHEMA) of all that is done, sealed or not, in the plan's order. An unsealed row's offset counts from
    the start of its part."""
    job, files = read_job(out), open_files(out)
    planned = plan(job)
    sealed, parts = layout.found(planned, files.sizes())

    shards = sorted(sealed | parts.keys())
    whole = {shard: shard_names(planned, shard)[1] for shard in shards}
    names = [[part_names(s, unit)[1] for unit in sorted(parts[s])] if s in parts else [whole[s]] for s in shards]

    def tables() -> Iterator[pa.Table]:
        stream = files.read_each(name for some in names for name in some)
        for shard, some in zip(shards, names, strict=True):
            found = [next(stream) for _ in some]
            if None in found:  # sealed since we looked: its parts are gone
                found = [files.read(whole[shard])]
            yield from (index_table(data)[0] for data in found if data is not None)

    return pa.concat_tables([SCHEMA.empty_table(), *tables()])


def read_sample(out: str, row: dict) -> dict[str, bytes]:
    """Extension -> bytes of the sample of an index row with size > 0. KeyError where there is none, UserError where it
    is damaged."""
    files, job, shard = open_files(out), read_job(out), row["shard"]
    sealed = shard_names(plan(job), shard)
    for tar_name, index_name in (sealed, part_names(shard, row["unit"]), sealed):  # it may be sealed at any moment
        with contextlib.suppress(FileNotFoundError):
            table = index_table(files.read(index_name))[0]
            place = table.filter(pc.equal(table["key"], row["key"])).to_pylist()
            if place and place[0]["size"]:
                try:
                    return opened.segment(files, tar_name, row["key"], place[0]["offset"], place[0]["size"], job)
                except Unreadable as error:
                    raise UserError(
                        f"{out}/{tar_name}: {row['key']}: damaged ({error}); factory verify tells how much of it"
                    ) from None
    raise KeyError(row["key"])

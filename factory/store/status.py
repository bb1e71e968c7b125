"""How far a data set is, and its rows and samples: from storage alone, while a run writes or long after."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow as pa

from factory.store import lock
from factory.store.dataset import DataSet, open_data
from factory.store.lock import Holder
from factory.store.survey import survey


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


def status(out: str | os.PathLike[str] | DataSet) -> Status:
    """UserError where there is no data set."""
    data = out if isinstance(out, DataSet) else open_data(out)
    planned, found = data.plan, survey(data, parts=True)
    return Status(
        name=data.job.name,
        planned=planned.records,
        shards_planned=planned.shards,
        shards_sealed=len(found.sealed),
        units_planned=planned.units,
        units_done=sum(map(planned.units_in, found.sealed)) + sum(map(len, found.parts.values())),
        states=dict(found.states),
        reasons=dict(found.reasons),
        bytes=sum(size for name, size in found.sizes.items() if name.endswith((".tar", ".parquet"))),
        live=lock.holder(data.files),
        job=data.job.model_dump(mode="json"),
    )


def read_index(out: str | os.PathLike[str]) -> pa.Table:
    """`DataSet.rows`, where nothing else is asked."""
    return open_data(out).rows


def read_sample(out: str | os.PathLike[str], row: dict) -> dict[str, bytes]:
    """`DataSet.sample`, where nothing else is asked."""
    return open_data(out).sample(row)

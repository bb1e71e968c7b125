"""How far a data set is, found by one listing and the indexes: the cost grows with shards, not with records."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from factory.store import lock
from factory.store.dataset import DataSet, open_data
from factory.store.index import Damaged, Head, StoredIndex
from factory.store.layout import part_archive
from factory.store.mark import Holder


@dataclass
class Survey:
    """What lies in a data set, by the heads of its indexes."""

    sealed: dict[int, Head] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)  # shards whose index is unreadable or whose tar has another size
    parts: dict[int, set[int]] = field(default_factory=dict)  # shard -> committed units, of shards that are not sealed
    states: Counter[str] = field(
        default_factory=Counter
    )  # state -> records of the sealed shards, and of parts if asked
    reasons: Counter[str] = field(default_factory=Counter)  # reason -> rejected records

    def count(self, head: Head) -> None:
        self.states.update(head.states)
        self.reasons.update(head.reasons)


@dataclass(frozen=True)
class Status:
    """How far a data set is; `factory status --json` prints these fields."""

    name: str
    planned: int  # records
    shards_planned: int
    shards_sealed: int
    units_planned: int
    units_done: int
    states: dict[str, int]  # state -> records that are done
    reasons: dict[str, int]  # reason -> rejected records
    bytes: int
    live: Holder | None  # the run that writes now
    job: dict[str, Any]  # as stored

    @property
    def complete(self) -> bool:
        return self.shards_sealed == self.shards_planned


def status(out: str | os.PathLike[str] | DataSet) -> Status:
    """How far a data set is, given its address or itself. UserError where there is none."""
    data = out if isinstance(out, DataSet) else open_data(out)
    planned, survey = data.plan, survey_data(data, count_parts=True)
    return Status(
        name=data.job.name,
        planned=planned.records,
        shards_planned=planned.shards,
        shards_sealed=len(survey.sealed),
        units_planned=planned.units,
        units_done=sum(map(planned.units_in, survey.sealed)) + sum(map(len, survey.parts.values())),
        states=dict(survey.states),
        reasons=dict(survey.reasons),
        bytes=sum(size for name, size in data.sizes.items() if name.endswith((".tar", ".parquet"))),
        live=lock.holder(data.files),
        job=data.job.model_dump(mode="json"),
    )


def survey_data(data: DataSet, count_parts: bool) -> Survey:
    """What lies there. `count_parts`: read the parts' indexes too and count their records."""
    survey = Survey(parts={shard: set(units) for shard, units in data.parts.items()})
    shards = [data.shard(number) for number in sorted(data.sealed)]
    for archive, index in zip(shards, data.indexes(shards), strict=True):
        head = _head(index)
        if head is None or data.sizes.get(archive.tar_name, 0) != head.bytes:
            survey.broken.add(archive.shard)
        else:
            survey.sealed[archive.shard] = head
            survey.count(head)
    if not count_parts:
        return survey
    places = [(shard, unit) for shard in sorted(data.parts) for unit in sorted(data.parts[shard])]
    indexes = data.indexes([part_archive(shard, unit) for shard, unit in places])
    for (shard, unit), index in zip(places, indexes, strict=True):
        if head := _head(index):
            survey.count(head)
        elif not index.gone:  # an index that is gone was sealed while we looked, so its unit counts as done
            survey.parts[shard].discard(unit)
    return survey


def _head(index: StoredIndex) -> Head | None:
    try:
        return index.head()
    except Damaged:
        return None

"""What lies in a data set, found by one listing and the indexes: a cost per shard, not per record."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from factory.plan import Plan
from factory.store import layout
from factory.store.fs import Files
from factory.store.layout import part_names, shard_names
from factory.store.part import index_head


@dataclass
class Survey:
    sizes: dict[str, int]  # of every object, bytes
    sealed: set[int]
    broken: set[int]  # shards whose index is unreadable or whose tar has another size than it says
    parts: dict[int, set[int]]  # units by shard, of those that are not sealed; unread
    states: Counter[str] = field(default_factory=Counter)  # records of the sealed shards, and of the parts if asked
    reasons: Counter[str] = field(default_factory=Counter)  # of the rejected ones

    def count(self, head: dict[str, str]) -> None:
        counts = json.loads(head["counts"])
        self.states.update(counts["states"])
        self.reasons.update(counts["reasons"])


def survey(files: Files, plan: Plan, parts: bool) -> Survey:
    """`parts`: count their records too."""
    sizes = files.sizes()
    named, units = layout.found(plan, sizes)
    found = Survey(sizes, set(), set(), units)
    shards = sorted(named)
    for shard, data in zip(shards, files.read_each(shard_names(plan, shard)[1] for shard in shards), strict=True):
        head = _head(data)
        if head is None or sizes.get(shard_names(plan, shard)[0], 0) != int(head["bytes"]):
            found.broken.add(shard)
        else:
            found.sealed.add(shard)
            found.count(head)
    if parts:
        ids = [(shard, unit) for shard in sorted(units) for unit in sorted(units[shard])]
        for (shard, unit), data in zip(ids, files.read_each(part_names(*id)[1] for id in ids), strict=True):
            if head := _head(data):
                found.count(head)
            elif data is not None:  # absent: it was sealed while we looked, and is still counted as done
                units[shard].discard(unit)
    return found


def _head(data: bytes | None) -> dict[str, str] | None:
    try:
        head = index_head(data) if data is not None else {}
    except (pa.ArrowException, OSError):
        return None
    return head if {"bytes", "sha256", "counts"} <= head.keys() else None

"""What lies in a data set, found by one listing and the indexes: a cost per shard, not per record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from factory.store.dataset import DataSet, Place
from factory.store.part import Damaged, Head, index_head


@dataclass
class Survey:
    sizes: dict[str, int]  # of every object, bytes
    sealed: dict[int, Head]
    broken: set[int]  # shards whose index is unreadable or whose tar has another size than it says
    parts: dict[int, set[int]]  # units by shard, of those that are not sealed; unread
    states: Counter[str] = field(default_factory=Counter)  # records of the sealed shards, and of the parts if asked
    reasons: Counter[str] = field(default_factory=Counter)  # of the rejected ones

    def count(self, head: Head) -> None:
        self.states.update(head.states)
        self.reasons.update(head.reasons)


def survey(data: DataSet, parts: bool) -> Survey:
    """`parts`: count their records too."""
    sealed, units = data.found
    found = Survey(data.sizes, {}, set(), {shard: set(some) for shard, some in units.items()})
    shards: list[Place] = [(shard, None) for shard in sorted(sealed)]
    for place, index in zip(shards, data.indexes(shards), strict=True):
        head = _head(index)
        if head is None or data.sizes.get(data.names(place)[0], 0) != head.bytes:
            found.broken.add(place[0])
        else:
            found.sealed[place[0]] = head
            found.count(head)
    if parts:
        ids: list[Place] = [(shard, unit) for shard in sorted(units) for unit in sorted(units[shard])]
        for (shard, unit), index in zip(ids, data.indexes(ids), strict=True):
            if head := _head(index):
                found.count(head)
            elif index is not None and unit is not None:  # absent: it was sealed while we looked, and is still counted
                found.parts[shard].discard(unit)  # as done
    return found


def _head(index: bytes | None) -> Head | None:
    try:
        return index_head(index)
    except Damaged:
        return None

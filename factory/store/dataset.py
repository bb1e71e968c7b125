"""One data set, opened for reading: what lies there by one listing, its rows, its samples.

Whoever asks more than one question opens it once and hands it on, so that the job, the listing and the indexes are read
once. A run may go on beside it: what has been sealed since the listing is found in its shard.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import groupby
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from factory.plan import Plan, plan
from factory.store import layout, opened
from factory.store.fs import Files, LocalFiles, open_files, read_or_none
from factory.store.layout import part_names, shard_names
from factory.store.part import LARGEST, SCHEMA, TOO_LARGE, index_table
from factory.untrusted import Unreadable

AT_ONCE = 16  # requests under way, to an object store
MEMORY = 2**28  # bytes that may be read ahead
Item = TypeVar("Item")
Result = TypeVar("Result")
Place = tuple[int, int | None]  # a shard that is sealed (None), or a unit that lies there as a part


class DataSet:
    """`files` and `plan` of the data set whose address is `out`. `keep`: hold the indexes in memory, so that a second
    question does not read them again."""

    def __init__(self, files: Files, planned: Plan, out: str = "", keep: bool = False) -> None:
        self.files, self.plan, self.job, self.out, self.keep = files, planned, planned.job, out or files.where, keep
        self._indexes: dict[str, bytes | None] = {}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Every object's name and size in bytes."""
        return self.files.sizes()

    @cached_property
    def found(self) -> tuple[set[int], dict[int, set[int]]]:
        """(sealed shards, units by shard of those that are not)."""
        return layout.found(self.plan, self.sizes)

    @property
    def sealed(self) -> set[int]:
        return self.found[0]

    @property
    def parts(self) -> dict[int, set[int]]:
        return self.found[1]

    @cached_property
    def fingerprint(self) -> str:
        """Of its job; empty where an early version wrote none."""
        return layout.fingerprint(self.files)

    def places(self) -> list[Place]:
        """All that is done, in the plan's order."""
        sealed, parts = self.found
        return [
            (shard, unit)
            for shard in sorted(sealed | parts.keys())
            for unit in ([None] if shard in sealed else sorted(parts[shard]))
        ]

    def names(self, place: Place) -> tuple[str, str]:
        """(tar, index) of a shard or of a part."""
        shard, unit = place
        return shard_names(self.plan, shard) if unit is None else part_names(shard, unit)

    def indexes(self, places: Iterable[Place]) -> Iterator[bytes | None]:
        """The index of each place, None where it is gone."""
        names = [self.names(place)[1] for place in places]
        stream = iter(fetch(self.files, [name for name in names if name not in self._indexes], self.sizes))
        for name in names:
            index = self._indexes[name] if name in self._indexes else next(stream)
            if self.keep:
                self._indexes[name] = index
            yield index

    def table(self, place: Place) -> pa.Table:
        """The rows of a shard or of a part. Raises Damaged."""
        name = self.names(place)[1]
        return index_table(next(self.indexes([place])), self._full(name))[0]

    def tables(self, shards: Iterable[int]) -> Iterator[pa.Table]:
        """The rows of sealed shards, one shard in memory at a time. Raises Damaged."""
        places: list[Place] = [(shard, None) for shard in shards]
        names = [self.names(place)[1] for place in places]
        for name, data in zip(names, fetch(self.files, names, self.sizes), strict=True):
            yield index_table(data, self._full(name))[0]

    @cached_property
    def rows(self) -> pa.Table:
        """The rows (SCHEMA) of all that is done, sealed or not, in the plan's order. An unsealed row's offset counts
        from the start of its part. Raises Damaged."""
        places, tables = self.places(), [SCHEMA.empty_table()]
        stream = zip(places, self.indexes(places), strict=True)
        for shard, some in groupby(stream, lambda item: item[0][0]):
            found = [(self.names(place)[1], index) for place, index in some]
            if any(index is None for _, index in found):  # sealed since the listing: its parts are gone
                name = self.names((shard, None))[1]
                found = [(name, read_or_none(self.files, name))]
            tables += [index_table(index, self._full(name))[0] for name, index in found]
        return pa.concat_tables(tables, promote_options="default")  # an earlier version's lacks columns

    def sample(self, row: dict) -> dict[str, bytes]:
        """Extension -> bytes of the sample of a row with size > 0. KeyError where there is none; Damaged."""
        if row["size"]:
            place = row["shard"], None if row["shard"] in self.sealed else row["unit"]
            if files := self._cut(place, row):
                return files
        sealed, part = (row["shard"], None), (row["shard"], row["unit"])
        for place in (sealed, part, sealed):  # it may be sealed at any moment
            if (data := read_index(self.files, self.names(place)[1], self.sizes)) is not None:
                table = index_table(data, self._full(self.names(place)[1]))[0]
                for there in table.filter(pc.equal(table["key"], row["key"])).to_pylist():
                    if there["size"] and (files := self._cut(place, there)):
                        return files
        raise KeyError(row["key"])

    def samples(self, rows: Iterable[dict]) -> Iterator[dict[str, bytes]]:
        """`sample` of each row, read ahead in an object store."""
        return in_order(self.sample, rows, self.files, lambda row: row["size"])

    def _cut(self, place: Place, row: dict) -> dict[str, bytes] | None:
        """The sample where the row says that it lies; None where it does not."""
        try:
            tar_name = self.names(place)[0]
            return opened.segment(self.files, tar_name, row["key"], row["offset"], row["size"], self.job)
        except (FileNotFoundError, Unreadable):
            return None

    def _full(self, name: str) -> str:
        return f"{self.out}/{name}"


def open_data(out: str | os.PathLike[str], keep: bool = False) -> DataSet:
    """UserError where there is no data set."""
    files = open_files(out)
    return DataSet(files, plan(layout.stored_job(files, os.fspath(out))), os.fspath(out), keep)


def fetch(files: Files, names: Iterable[str], sizes: dict[str, int] | None = None) -> Iterator[bytes | None]:
    """Whole objects as `read_index` reads them, in the order of their names. sizes: bytes by name, as far as they are
    known, so that no more is read ahead than fits into MEMORY."""
    known = sizes or {}
    return in_order(lambda name: read_index(files, name, known), names, files, lambda name: known.get(name, 0))


def read_index(files: Files, name: str, sizes: dict[str, int]) -> bytes | None:
    """None where it is absent; TOO_LARGE in the place of what, as listed, cannot be an index."""
    return TOO_LARGE if sizes.get(name, 0) > LARGEST else read_or_none(files, name)


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], files: Files, size: Callable[[Item], int]
) -> Iterator[Result]:
    """work(item) for each item, in their order. In an object store AT_ONCE are under way at once, and so many lie ready
    as MEMORY holds; `size` says how many bytes an item takes."""
    if isinstance(files, LocalFiles):
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(AT_ONCE)
    waiting: deque[tuple[int, Future[Result]]] = deque()
    held = 0
    try:
        for item in items:
            while waiting and (len(waiting) >= 4 * AT_ONCE or held + size(item) > MEMORY):
                taken, future = waiting.popleft()
                held -= taken
                yield future.result()
            waiting.append((size(item), pool.submit(work, item)))
            held += size(item)
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        pool.shutdown(cancel_futures=True)

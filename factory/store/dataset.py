"""One data set, opened for reading: its job, what lies there by one listing, its rows, its samples.

A command opens it once and hands it on, so that the job, the listing and the indexes are read once. A run may go on at
the same time: what it has sealed since the listing is found in its shard.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from factory.errors import UserError
from factory.plan import Plan, plan
from factory.store.decode import DecodedSample, cut_sample, decode_sample
from factory.store.fs import Files, open_files
from factory.store.index import SCHEMA, StoredIndex, read_index
from factory.store.job_json import StoredJob, read_job
from factory.store.layout import Archive, list_done, part_archive, shard_archive
from factory.store.read_ahead import in_order
from factory.store.where import Where, select
from factory.untrusted import Unreadable


class DataSet:
    """A data set opened for reading; `open_data` makes one.

    address: what messages call it. job: what it was made from. plan: the job's plan. rows: the index. `sample` and
    `samples`: its samples, decoded. files: where its objects lie. stored: the content of its job.json.
    """

    def __init__(self, files: Files, planned: Plan, stored: StoredJob, address: str = "", keep: bool = False) -> None:
        """keep: hold the indexes in memory, so that a second question does not read them again."""
        self.files, self.plan, self.job, self.stored = files, planned, planned.job, stored
        self.address, self.keep = address or files.address, keep
        self._indexes: dict[str, StoredIndex] = {}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Name -> size in bytes of every object, by one listing."""
        return self.files.sizes()

    @cached_property
    def _done(self) -> tuple[set[int], dict[int, set[int]]]:
        return list_done(self.plan, self.sizes)

    @property
    def sealed(self) -> set[int]:
        """The shards that are sealed, by number."""
        return self._done[0]

    @property
    def parts(self) -> dict[int, set[int]]:
        """Shard -> the units of it that are committed, of the shards that are not sealed."""
        return self._done[1]

    @property
    def fingerprint(self) -> str:
        """Of its job; empty where an early version wrote none."""
        return self.stored.fingerprint

    def listed_anew(self) -> DataSet:
        """The same data set, with a listing of what lies there now."""
        return DataSet(self.files, self.plan, self.stored, self.address, self.keep)

    def shard(self, number: int) -> Archive:
        return shard_archive(self.plan, number)

    def archives(self) -> list[Archive]:
        """All sealed shards, and the committed parts of the others, in the plan's order."""
        return [
            archive
            for shard in sorted(self.sealed | self.parts.keys())
            for archive in (
                [self.shard(shard)]
                if shard in self.sealed
                else [part_archive(shard, unit) for unit in sorted(self.parts[shard])]
            )
        ]

    def read_index(self, archive: Archive) -> StoredIndex:
        """The index as it lies there now."""
        name = archive.index_name
        return read_index(self.files, name, f"{self.address}/{name}", self.sizes.get(name, 0))

    def read_indexes(self, archives: Iterable[Archive]) -> Iterator[StoredIndex]:
        """`read_index` of each, read ahead from an object store."""
        return in_order(self.read_index, archives, self.files, lambda archive: self.sizes.get(archive.index_name, 0))

    def indexes(self, archives: Iterable[Archive]) -> Iterator[StoredIndex]:
        """`read_indexes`, but those that are kept in memory are not read again."""
        archives = list(archives)
        unread = self.read_indexes([each for each in archives if each.index_name not in self._indexes])
        for archive in archives:
            index = self._indexes.get(archive.index_name) or next(unread)
            if self.keep:
                self._indexes[archive.index_name] = index
            yield index

    @cached_property
    def rows(self) -> pa.Table:
        """One row (index.SCHEMA) for each record that is done, sealed or not, in the plan's order. `size` is 0 where
        the record gave no sample. An unsealed row's offset counts from the start of its part. Raises Damaged."""
        archives, tables = self.archives(), [SCHEMA.empty_table()]
        stream = zip(archives, self.indexes(archives), strict=True)
        for shard, pairs in groupby(stream, lambda pair: pair[0].shard):
            indexes = [index for _, index in pairs]
            if any(index.gone for index in indexes):  # sealed since the listing: its parts are gone
                indexes = [self.read_index(self.shard(shard))]
            tables += [index.table()[0] for index in indexes]
        return pa.concat_tables(tables, promote_options="default")  # an earlier version's lacks columns

    def sample_files(self, row: dict[str, Any]) -> dict[str, bytes]:
        """Extension -> bytes of the files of a row's sample. Reads them alone, and an index only where the row is no
        longer true. KeyError: the row's record has no sample; Damaged."""
        part, sealed = part_archive(row["shard"], row["unit"]), self.shard(row["shard"])
        if row["size"] and (files := self._cut(sealed if row["shard"] in self.sealed else part, row)):
            return files
        for archive in (sealed, part, sealed):  # it may be sealed at any moment
            index = self.read_index(archive)
            if index.gone:
                continue
            rows = index.table()[0]
            for there in rows.filter(pc.equal(rows["key"], row["key"])).to_pylist():
                if there["size"] and (files := self._cut(archive, there)):
                    return files
        raise KeyError(row["key"])

    def all_sample_files(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, bytes]]:
        """`sample_files` of each row, read ahead from an object store."""
        return in_order(self.sample_files, rows, self.files, lambda row: row["size"])

    def sample(self, row: dict[str, Any]) -> DecodedSample:
        """The sample of a row, decoded. UserError: the row's record has no sample, or it is damaged."""
        return self._decoded(row["key"], self.all_sample_files([row]))

    def samples(self, where: str | None = None) -> Iterator[DecodedSample]:
        """The samples, in the plan's order, one in memory at a time; `where`: those whose row fits the condition, such
        as "score > 30 and people = 1". UserError: the condition is wrong, or a sample is damaged."""
        condition = Where(where, SCHEMA) if where else None
        rows = self.rows.filter(select(condition, self.rows)).to_pylist()
        files = self.all_sample_files(rows)
        return (self._decoded(row["key"], files) for row in rows)

    def _decoded(self, key: str, files: Iterator[dict[str, bytes]]) -> DecodedSample:
        try:
            return decode_sample(key, next(files), self.job)
        except (Unreadable, KeyError) as error:
            raise self.damaged(key, error) from None

    def damaged(self, key: str, error: Exception) -> UserError:
        """What to raise over a sample that is not there, or not what it should be."""
        return UserError(
            f"{self.address}: sample {key} is damaged ({error}); factory verify {self.address} tells how much of it"
        )

    def _cut(self, archive: Archive, row: dict[str, Any]) -> dict[str, bytes] | None:
        """The files of the sample where the row says that it lies; None where it does not lie there."""
        try:
            return cut_sample(self.files, archive.tar_name, row["key"], row["offset"], row["size"], self.job)
        except (FileNotFoundError, Unreadable):
            return None


def open_data(out: str | os.PathLike[str], keep: bool = False) -> DataSet:
    """The data set at an address: a folder, or s3://, gs:// or az:// with a bucket and a prefix. `keep` as for
    `DataSet`. UserError: there is none, it is damaged, or a newer version made it."""
    files, address = open_files(out), os.fspath(out)
    stored = read_job(files, address)
    return DataSet(files, plan(stored.job), stored, address, keep)

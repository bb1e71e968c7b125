"""Parquet of untrusted origin: its footer and the headers of its pages are checked before a row is unpacked.

A few kilobytes of parquet may unpack to any number of rows, or to one long text in each of a million rows. So the
footer may name known columns only, and rows and pages may take no more than the file's length allows. Where the texts
of a dictionary might take more than that once they are written out, they are read as a dictionary, and their lengths
are summed first.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factory.untrusted import Unreadable, pages

ROW = 6  # bytes that a row takes at least: each has a seed of its own, and random numbers cannot be packed
ROWS = 1_000_000  # rows at most, in a shard of the longest kind
# A file of n bytes may unpack to SPARE + RATIO * n bytes, and to MOST bytes at most.
RATIO, SPARE, MOST = 1000, 1 << 24, 1 << 28
FOOTER = 1 << 24  # bytes at most of the footer


class Parquet:
    """A parquet file in memory, its rows not read yet. head: the texts that its footer carries.

    Unreadable: the file is damaged, or has columns that `schema` does not know (it may lack some).
    """

    def __init__(self, data: bytes, schema: pa.Schema) -> None:
        self.data, self.footer = data, int.from_bytes(data[-8:-4], "little")
        try:
            if self.footer > FOOTER:
                raise Unreadable("its footer is longer than that of any index")
            file = self._opened()
            self.metadata = file.metadata
            self.head = {key.decode(): value.decode() for key, value in (self.metadata.metadata or {}).items()}
            columns = file.schema_arrow
        except Exception as error:  # Arrow raises errors of its own, OSError and ValueError
            raise Unreadable(str(error).partition("\n")[0]) from None
        for field in columns:
            if field.name not in schema.names or field.type != schema.field(field.name).type:
                raise Unreadable(f"other columns than are expected, such as {field.name[:40]}: {str(field.type)[:40]}")
        if len(set(columns.names)) < len(columns):
            raise Unreadable("it has a column twice")
        self.schema = pa.schema([schema.field(name) for name in columns.names])

    def rows(self) -> pa.Table:
        """The rows. Unreadable: they are damaged, or are far more or far longer than a file of that length holds."""
        length, count = len(self.data), self.metadata.num_rows
        most = min(MOST, SPARE + RATIO * length)
        if count > ROWS or count * ROW > length:
            raise Unreadable(f"{length:,} bytes hold {count:,} rows")
        size = pages.unpacked(self.data, self.footer, count)
        if size.pages > most:
            raise Unreadable(f"{length:,} bytes hold {count:,} rows, {size.pages:,} bytes")
        texts = [field.name for field in self.schema if pa.types.is_string(field.type)]
        try:
            file = self._opened(metadata=self.metadata, read_dictionary=texts if size.written_out > most else [])
            table = file.read(use_threads=False)  # threads cost more than such a small file is worth
            if sum(map(_written_out, table.columns)) > most:
                raise Unreadable(f"{length:,} bytes whose texts would be more than {most:,}")
            columns = [
                pa.chunked_array([_plain(chunk) for chunk in column.chunks], field.type)
                for column, field in zip(table.columns, self.schema, strict=True)
            ]
            table = pa.Table.from_arrays(columns, schema=self.schema)
            table.validate(full=True)  # among other things, that texts are UTF-8
            return table
        except Unreadable:
            raise
        except Exception as error:
            raise Unreadable(str(error).partition("\n")[0]) from None

    def _opened(self, **options: Any) -> pq.ParquetFile:
        return pq.ParquetFile(pa.BufferReader(self.data), thrift_container_size_limit=pages.LENGTH, **options)


def _written_out(column: pa.ChunkedArray) -> int:
    """The bytes that the texts of a column take once written out, if the column is packed as a dictionary; else 0."""
    if not pa.types.is_dictionary(column.type):
        return 0
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(each.cast(pa.int64())).as_py() or 0 for each in lengths)


def _plain(chunk: pa.Array) -> pa.Array:
    return chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk

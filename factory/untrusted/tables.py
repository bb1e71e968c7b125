"""Parquet of untrusted origin: the footer of a file is checked before a row is unpacked.

A few kilobytes of parquet may unpack to any number of rows, or to one long text in each of a million rows. So the
footer may name known columns only, and no more rows and bytes than the file's length allows. And texts are unpacked as
a dictionary, and their lengths are summed before they are written out.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factory.untrusted import Unreadable

ROW = 6  # bytes that a row takes at least: each has a seed of its own, and random numbers cannot be packed
# A file of n bytes may unpack to SPARE + RATIO * n bytes, and to MOST bytes at most.
RATIO, SPARE, MOST = 1000, 1 << 24, 1 << 28
FOOTER = 1 << 24  # bytes at most of the footer


class Parquet:
    """A parquet file in memory, its rows not read yet. head: the texts that its footer carries.

    Unreadable: the file is damaged, or has columns that `schema` does not know (it may lack some).
    """

    def __init__(self, data: bytes, schema: pa.Schema) -> None:
        self.length = len(data)
        try:
            if int.from_bytes(data[-8:-4], "little") > FOOTER:
                raise Unreadable("its footer is longer than that of any index")
            plain = pq.ParquetFile(pa.BufferReader(data))
            texts = [field.name for field in plain.schema_arrow if pa.types.is_string(field.type)]
            self.file = pq.ParquetFile(pa.BufferReader(data), metadata=plain.metadata, read_dictionary=texts)
            metadata = plain.metadata.metadata or {}
            self.head = {key.decode(): value.decode() for key, value in metadata.items()}
            columns = self.file.schema_arrow
        except Exception as error:  # Arrow raises errors of its own, OSError and ValueError
            raise Unreadable(str(error).partition("\n")[0]) from None
        packed = pa.dictionary(pa.int32(), pa.string())
        for field in columns:
            known = schema.field(field.name).type if field.name in schema.names else None
            if known is None or (field.type != known and (field.type, known) != (packed, pa.string())):
                raise Unreadable(f"other columns than are expected, such as {field.name[:40]}: {str(field.type)[:40]}")
        self.schema = pa.schema([schema.field(field.name) for field in columns])

    def rows(self) -> pa.Table:
        """The rows. Unreadable: they are damaged, or are far more or far longer than a file of that length holds."""
        metadata, most = self.file.metadata, min(MOST, SPARE + RATIO * self.length)
        unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        if metadata.num_rows * ROW > self.length or unpacked > most:
            raise Unreadable(f"{self.length:,} bytes hold {metadata.num_rows:,} rows, {unpacked:,} bytes")
        try:
            table = self.file.read(use_threads=False)  # threads cost more than such a small file is worth
            if sum(map(_written_out, table.columns)) > most:
                raise Unreadable(f"{self.length:,} bytes whose texts would be more than {most:,}")
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


def _written_out(column: pa.ChunkedArray) -> int:
    """The bytes that the texts of a column take once written out, if the column is packed as a dictionary; else 0."""
    if not pa.types.is_dictionary(column.type):
        return 0
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(each.cast(pa.int64())).as_py() or 0 for each in lengths)


def _plain(chunk: pa.Array) -> pa.Array:
    return chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk

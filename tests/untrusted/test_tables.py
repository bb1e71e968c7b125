"""Parquet of strangers: our own indexes are read; what unpacks to far more than an index of that length is refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.untrusted import Unreadable
from factory.untrusted.tables import Parquet

SCHEMA = pa.schema({"key": pa.string(), "seed": pa.int64(), "score": pa.float64()})


def written(table: pa.Table, **options) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue().to_pybytes()


def rows(count: int, text: str = "x") -> pa.Table:
    seeds = [hash((i, "seed")) for i in range(count)]
    return pa.table({"key": [f"{text}{i}" for i in range(count)], "seed": seeds, "score": [None] * count}, SCHEMA)


@pytest.mark.parametrize("table", [rows(0), rows(1), rows(1000, "é"), pa.table({"key": ["a", None, "a"]})])
def test_rows_come_back_as_they_were(table):
    assert Parquet(written(table), SCHEMA).rows() == table.replace_schema_metadata(None)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"seed": pa.repeat(pa.scalar(1, pa.int64()), 5_000_000)}), "5,000,000 rows"),
        (pa.table({"key": ["x" * 1_000_000] * 60}), "whose texts would be more than"),
        (pa.table({"key": ["x" * 300_000_000]}), "hold 1 rows"),
        (pa.table({"key": [1]}), "other columns"),
        (pa.table({"stranger": ["a"]}), "other columns"),
    ],
    ids=["rows", "one text many times", "one long text", "type", "name"],
)
def test_a_table_that_would_take_more_than_it_should(table, words):
    with pytest.raises(Unreadable, match=words):
        Parquet(written(table), SCHEMA).rows()


def test_damage_is_one_kind_of_error():
    data = written(rows(20))
    for place in range(0, len(data), 7):
        broken = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        for content in (broken, data[:place]):
            try:
                Parquet(content, SCHEMA).rows()
            except Unreadable as error:
                assert "\n" not in str(error)

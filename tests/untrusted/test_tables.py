"""Parquet of strangers: our own indexes are read; what unpacks to far more than an index of that length is refused."""

from __future__ import annotations

import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.untrusted import Unreadable
from factory.untrusted.tables import Parquet
from tests.support import parquet_forge as forge

pytestmark = pytest.mark.heavy(0.5)

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


ATTACKS = forge.attacks()


@pytest.mark.parametrize("name", ATTACKS)
def test_pages_that_lie_are_told_before_one_is_unpacked(name):
    tracemalloc.start()
    before = pa.default_memory_pool().bytes_allocated()
    try:
        with pytest.raises(Unreadable):
            Parquet(ATTACKS[name], SCHEMA).rows()
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        assert pa.default_memory_pool().bytes_allocated() == before
    finally:
        tracemalloc.stop()


def test_a_file_put_together_by_hand_is_read_where_it_tells_the_truth():
    data = forge.parquet(forge.page(pa.compress(forge.texts(1, 1), "zstd", asbytes=True), 10, 2), 2, groups=3)
    assert Parquet(data, SCHEMA).rows()["key"].to_pylist() == ["x"] * 6


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_that_go_on_from_each_other_are_not_read(encoding):
    data = written(rows(1000, "x" * 10_000), use_dictionary=False, column_encoding={"key": encoding})
    with pytest.raises(Unreadable, match="in a way that no index is"):
        Parquet(data, SCHEMA).rows()


@pytest.mark.parametrize("options", [{"data_page_version": "2.0"}, {"compression": "none"}, {"use_dictionary": False}])
def test_other_ways_to_write_the_same_rows(options):
    table = rows(5000)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"compression": "zstd", "row_group_size": 700, "data_page_size": 1000, **options})
    assert Parquet(sink.getvalue().to_pybytes(), SCHEMA).rows() == table


def test_a_footer_with_a_column_twice_is_refused():
    twice = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["key", "key"])
    with pytest.raises(Unreadable, match="a column twice"):
        Parquet(written(twice), SCHEMA)


def test_damage_is_one_kind_of_error():
    data = written(rows(20))
    for place in range(0, len(data), 3):
        broken = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        for content in (broken, data[:place]):
            try:
                Parquet(content, SCHEMA).rows()
            except Unreadable as error:
                assert "\n" not in str(error)

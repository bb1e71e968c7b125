"""The index of a shard or of a part: one parquet row per planned record, and a head that says what its tar holds.

Written last, the index is also the mark that its tar is whole. It may come from a stranger or be damaged, so whatever
is wrong with its bytes is raised as `Damaged`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import UserError
from factory.metrics import may_be_missing, of_images
from factory.store.fs import Files, read_or_none
from factory.untrusted import text
from factory.untrusted.tables import FOOTER, Parquet

SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "shard": pa.int32(),
        "unit": pa.int32(),
        "state": pa.string(),  # ok | rejected | failed
        "reason": pa.string(),  # why it was rejected
        "stage": pa.string(),  # where it was rejected or failed
        "error": pa.string(),  # how it failed
        "attempts": pa.int32(),
        "seed": pa.int64(),
        "prompt": pa.string(),
        "source": pa.string(),  # the real image or the row of the pose file
        "variant": pa.int32(),  # of it
        "refined": pa.bool_(),
        **{metric.name: pa.float64() for metric in of_images() if not metric.optional},
        "people": pa.int32(),
        **{metric.name: pa.float64() for metric in of_images() if metric.optional},  # null where not measured
        "offset": pa.int64(),  # where the sample's bytes begin in the tar
        "size": pa.int64(),  # how many there are; 0: the record gave no sample
    }
)

LARGEST_INDEX = 1 << 28  # bytes; a longer one is not read: it must not fill the memory
OWN_HASH, NO_HASH, FINGERPRINT = "index_sha256", b"0" * 64, "fingerprint"


class Damaged(UserError):
    """An index is not what was written, or is gone."""

    def __init__(self, name: str, why: object) -> None:
        self.name, self.why = name, (str(why).splitlines() or [type(why).__name__])[0]
        super().__init__(f"{name}: damaged ({self.why}); mend it: factory verify OUT --repair, then run again")

    def __reduce__(self) -> tuple[type[Damaged], tuple[str, str]]:  # workers send it to the process that asked
        return Damaged, (self.name, self.why)


@dataclass(frozen=True)
class Head:
    """What an index says of its tar and of its rows. It is read without reading a row."""

    sha256: str  # of the tar
    bytes: int  # of the tar; 0 where no record gave a sample
    states: dict[str, int]  # state -> records
    reasons: dict[str, int]  # reason -> rejected records
    units: list[tuple[int, str]]  # (bytes, sha256) of each unit in a shard's tar; empty in a part's index
    fingerprint: str  # of the data set it was made for; empty in what earlier versions wrote
    own_hash: str  # sha256 of the index itself

    @classmethod
    def parse(cls, written: dict[str, str]) -> Head:
        """Raises ValueError, KeyError, TypeError or AttributeError where it is not what `index_bytes` writes."""
        counts = text.loads(written["counts"].encode(), FOOTER)
        states, reasons = ({str(k): int(n) for k, n in counts[name].items()} for name in ("states", "reasons"))
        units = [(int(size), str(sha256)) for size, sha256 in text.loads(written.get("units", "[]").encode(), FOOTER)]
        own = written.get(FINGERPRINT, ""), written.get(OWN_HASH, "")
        return cls(written["sha256"], int(written["bytes"]), states, reasons, units, *own)


@dataclass(frozen=True)
class StoredIndex:
    """An index as it lay on storage when it was read."""

    address: str  # for messages
    data: bytes  # empty where the index is gone or too long
    gone: bool = False
    too_long: bool = False  # to be an index: it was not read

    def table(self) -> tuple[pa.Table, Head]:
        """(rows, head). Raises Damaged."""
        self._require()
        return index_table(self.data, self.address)

    def head(self) -> Head:
        """Raises Damaged."""
        self._require()
        return index_head(self.data, self.address)

    def _require(self) -> None:
        if self.gone:
            raise Damaged(self.address, "it is gone")
        if self.too_long:
            raise Damaged(self.address, "longer than any index is")


def read_index(files: Files, name: str, address: str, size: int) -> StoredIndex:
    """The index called `name`, of which a listing says that it has `size` bytes."""
    if size > LARGEST_INDEX:
        return StoredIndex(address, b"", too_long=True)
    data = read_or_none(files, name)
    return StoredIndex(address, data or b"", gone=data is None)


def tar_digest(data: bytes) -> dict[str, str]:
    """What an index says of its tar: its sha256 and its length in bytes, as texts."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": str(len(data))}


def index_bytes(table: pa.Table, written: dict[str, str]) -> bytes:
    """The rows (SCHEMA) as the parquet bytes of an index. Its head holds counts of the rows, what is `written` of the
    tar, and the sha256 of the index itself, which is taken while zeros stand in its place."""
    reasons = Counter(reason for reason in table["reason"].to_pylist() if reason)
    counts = {"states": Counter(table["state"].to_pylist()), "reasons": reasons}
    head = {**written, "counts": json.dumps(counts, sort_keys=True), OWN_HASH: NO_HASH.decode()}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", store_schema=False) as file:
        file.write_table(table)
        file.add_key_value_metadata(head)
    data = sink.getvalue().to_pybytes()
    return _with_last_replaced(data, NO_HASH, hashlib.sha256(data).hexdigest().encode())


def index_table(data: bytes, address: str = "index") -> tuple[pa.Table, Head]:
    """(rows, head) of the bytes of an index. The rows have those columns of SCHEMA that the index was written with.
    Raises Damaged, which names the address."""
    with _damage(address):
        file = Parquet(data, SCHEMA)
        own = file.head.get(OWN_HASH, "")
        if not own or hashlib.sha256(_with_last_replaced(data, own.encode(), NO_HASH)).hexdigest() != own:
            raise ValueError("its bytes are not those that were written")
        rows = file.rows()
        if empty := [name for name in rows.column_names if not may_be_missing(name) and rows[name].null_count]:
            raise ValueError(f"values of {', '.join(empty)} are missing")
        return _completed(rows), Head.parse(file.head)


def _completed(rows: pa.Table) -> pa.Table:
    """The rows with nulls for the metrics that are newer than the index, in the order of SCHEMA."""
    for name in SCHEMA.names:
        if may_be_missing(name) and name not in rows.column_names:
            rows = rows.append_column(SCHEMA.field(name), pa.nulls(rows.num_rows, SCHEMA.field(name).type))
    return rows.select([name for name in SCHEMA.names if name in rows.column_names])


def index_head(data: bytes, address: str = "index") -> Head:
    """The head in the bytes of an index. The cost does not grow with the rows. Raises Damaged."""
    with _damage(address):
        return Head.parse(Parquet(data, SCHEMA).head)


def moved(rows: pa.Table, by: int) -> pa.Table:
    """The rows with `by` bytes added to their offsets."""
    offsets = pa.array(rows["offset"].to_numpy() + by)
    return rows.set_column(rows.schema.get_field_index("offset"), "offset", offsets).combine_chunks()


@contextmanager
def _damage(address: str) -> Iterator[None]:
    """Damaged for whatever a reader of parquet raises over bytes that are no index."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Damaged(address, error) from None


def _with_last_replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """`new` in the place of the last `old`: the head comes after all rows."""
    before, _, after = data.rpartition(old)
    return before + new + after

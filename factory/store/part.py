"""A unit's contribution to its shard: tar bytes and index rows, ready to be written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import UserError, encodable
from factory.job import JobSpec
from factory.metrics import may_be_missing, of_images
from factory.record import Record, State, Unit
from factory.store import sample, tar
from factory.untrusted import text
from factory.untrusted.tables import FOOTER as HEAD
from factory.untrusted.tables import Parquet

# One row per planned record, whatever became of it.
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

LARGEST = 1 << 28  # bytes of an index at most; a longer one is not read: it must not fill the memory
TOO_LARGE = b"longer than any index"  # stands for one in memory
OWN, NO_HASH, FINGERPRINT = "index_sha256", b"0" * 64, "fingerprint"


class Damaged(UserError):
    """An index is not what was written, or is gone."""

    def __init__(self, name: str, why: object) -> None:
        self.name, self.why = name, (str(why).splitlines() or [type(why).__name__])[0]
        super().__init__(f"{name}: damaged ({self.why}); mend it: factory verify OUT --repair, then run again")

    def __reduce__(self) -> tuple[type[Damaged], tuple[str, str]]:  # workers send it to the process that asked
        return Damaged, (self.name, self.why)


class Part(NamedTuple):
    tar: bytes  # a segment
    rows: bytes  # parquet of SCHEMA; offsets count from the segment's start


Parts = Generator[tuple[int, int, Part], None, None]  # (shard, index, part) as an engine makes them


@dataclass(frozen=True)
class Head:
    """What an index says of its tar and of its rows, before any row is read."""

    sha256: str  # of the tar
    bytes: int  # of the tar; 0 where no record gave a sample
    states: dict[str, int]  # state -> records
    reasons: dict[str, int]  # why -> records that were rejected
    units: list[tuple[int, str]]  # (bytes, sha256) of each unit in a shard's tar; empty in a part's index
    fingerprint: str  # of the data set it was made for; empty in what earlier versions wrote
    own: str  # hash of the index itself

    @classmethod
    def parse(cls, written: dict[str, str]) -> Head:
        """Raises ValueError, KeyError, TypeError or AttributeError where it is not what `index_bytes` writes."""
        counts = text.loads(written["counts"].encode(), HEAD)
        states, reasons = ({str(k): int(n) for k, n in counts[name].items()} for name in ("states", "reasons"))
        units = [(int(size), str(sha256)) for size, sha256 in text.loads(written.get("units", "[]").encode(), HEAD)]
        own = written.get(FINGERPRINT, ""), written.get(OWN, "")
        return cls(written["sha256"], int(written["bytes"]), states, reasons, units, *own)


def pack(unit: Unit, job: JobSpec) -> Part:
    """Give every record its final state and the ok ones their bytes. A record that cannot be written has failed."""
    data, rows = b"", []
    for record in unit.records:
        segment = b""
        record.prompt, record.source = encodable(record.prompt), encodable(record.source)
        if record.active:
            try:
                segment = tar.segment(sample.members(record, job))
                record.state = State.OK
            except Exception as error:
                record.fail(error, "store")
        rows.append(_row(unit, record, len(data), len(segment)))
        data += segment
    return Part(data, index_bytes(pa.Table.from_pylist(rows, SCHEMA), digest(data)))


def digest(data: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": str(len(data))}


def index_bytes(table: pa.Table, written: dict[str, str]) -> bytes:
    """The table as parquet that carries, for `index_head`, what it counts, what is `written` of its tar, and its own
    hash, taken while zeros stood there."""
    reasons = Counter(reason for reason in table["reason"].to_pylist() if reason)
    counts = {"states": Counter(table["state"].to_pylist()), "reasons": reasons}
    head = {**written, "counts": json.dumps(counts, sort_keys=True), OWN: NO_HASH.decode()}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", store_schema=False) as file:
        file.write_table(table)
        file.add_key_value_metadata(head)
    data = sink.getvalue().to_pybytes()
    return _exchanged(data, NO_HASH, hashlib.sha256(data).hexdigest().encode())


def index_table(data: bytes | None, name: str = "index") -> tuple[pa.Table, Head]:
    """The rows and the head of the index of that name; its data are None where it is gone. Raises Damaged."""
    with _damage(name):
        file = _opened(data)
        own = file.head.get(OWN, "")
        if not own or hashlib.sha256(_exchanged(data or b"", own.encode(), NO_HASH)).hexdigest() != own:
            raise ValueError("its bytes are not those that were written")
        table = file.rows()
        if empty := [name for name in table.column_names if not may_be_missing(name) and table[name].null_count]:
            raise ValueError(f"values of {', '.join(empty)} are missing")
        return table, Head.parse(file.head)


def index_head(data: bytes | None, name: str = "index") -> Head:
    """What stands at the end of the index. Its cost does not grow with the rows. Raises Damaged."""
    with _damage(name):
        return Head.parse(_opened(data).head)


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Whatever a reader of parquet raises over bytes that are no index: Damaged."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Damaged(name, error) from None


def _exchanged(data: bytes, old: bytes, new: bytes) -> bytes:
    """With `new` where `old` stands last: in the head, which comes after all rows."""
    before, _, after = data.rpartition(old)
    return before + new + after


def _opened(data: bytes | None) -> Parquet:
    if data is None:
        raise ValueError("it is gone")
    if data == TOO_LARGE:
        raise ValueError("longer than any index is")
    return Parquet(data, SCHEMA)


def _row(unit: Unit, record: Record, offset: int, size: int) -> dict:
    return {
        "key": record.key, "shard": unit.shard, "unit": unit.index,
        "state": str(record.state), "reason": encodable(record.reason), "stage": encodable(record.stage),
        "error": encodable(record.error),
        "attempts": record.attempts, "seed": record.seed, "prompt": record.prompt,
        "source": record.source, "variant": record.variant, "refined": record.refined,
        "people": len(record.people), "offset": offset, "size": size,
        **{metric.name: record.metrics.get(metric.name, metric.missing) for metric in of_images()},
    }  # fmt: skip

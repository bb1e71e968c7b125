"""A unit's contribution to its shard: tar bytes and index rows, ready to be written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Generator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from factory.job import JobSpec
from factory.record import FIDELITY, Record, State, Unit
from factory.store import sample, tar
from factory.untrusted import Unreadable
from factory.untrusted.tables import Table

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
        "pose_score": pa.float64(),
        "people": pa.int32(),
        **dict.fromkeys(FIDELITY, pa.float64()),  # null where it was not or cannot be measured
        "offset": pa.int64(),  # where the sample's bytes begin in the tar
        "size": pa.int64(),  # how many there are; 0: the record gave no sample
    }
)


OWN, NO_HASH = "index_sha256", b"0" * 64


class Part(NamedTuple):
    tar: bytes  # a segment
    rows: bytes  # parquet of SCHEMA; offsets count from the segment's start


Parts = Generator[tuple[int, int, Part], None, None]  # (shard, index, part) as an engine makes them


def pack(unit: Unit, job: JobSpec) -> Part:
    """Give every record its final state and the ok ones their bytes. A record that cannot be written has failed."""
    data, rows = b"", []
    for record in unit.records:
        segment = b""
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


def index_bytes(table: pa.Table, digest: dict[str, str]) -> bytes:
    """The table as parquet that carries, for `index_head`, what it counts, the size and hash of its tar, and its own
    hash, taken while zeros stood there."""
    reasons = Counter(reason for reason in table["reason"].to_pylist() if reason)
    counts = {"states": Counter(table["state"].to_pylist()), "reasons": reasons}
    head = {**digest, "counts": json.dumps(counts, sort_keys=True), OWN: NO_HASH.decode()}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", store_schema=False) as file:
        file.write_table(table)
        file.add_key_value_metadata(head)
    data = sink.getvalue().to_pybytes()
    return _exchanged(data, NO_HASH, hashlib.sha256(data).hexdigest().encode())


def index_table(data: bytes) -> tuple[pa.Table, dict[str, str]]:
    """The rows and the head. Raises pa.ArrowException or OSError where the file is damaged."""
    file = _opened(data)
    own = file.head.pop(OWN, "")
    if not own or hashlib.sha256(_exchanged(data, own.encode(), NO_HASH)).hexdigest() != own:
        raise OSError("its bytes are not those that were written")
    try:
        return file.rows(), file.head
    except Unreadable as error:
        raise OSError(str(error)) from error


def _exchanged(data: bytes, old: bytes, new: bytes) -> bytes:
    """With `new` where `old` stands last: in the head, which comes after all rows."""
    before, _, after = data.rpartition(old)
    return before + new + after


def index_head(data: bytes) -> dict[str, str]:
    """{"sha256", "bytes"} of the tar, "counts" of states and reasons, and of a shard "units": the size and hash of each
    unit in the tar. Its cost does not grow with the rows. Raises as `index_table`."""
    return _opened(data).head


def _opened(data: bytes) -> Table:
    try:
        return Table(data, SCHEMA)
    except Unreadable as error:
        raise OSError(str(error)) from error


def _row(unit: Unit, record: Record, offset: int, size: int) -> dict:
    return {
        "key": record.key, "shard": unit.shard, "unit": unit.index,
        "state": str(record.state), "reason": record.reason, "stage": record.stage, "error": record.error,
        "attempts": record.attempts, "seed": record.seed, "prompt": record.prompt,
        "source": record.source, "variant": record.variant, "refined": record.refined,
        "pose_score": float(record.pose_score), "people": len(record.people), "offset": offset, "size": size,
        **{name: getattr(record, name) for name in FIDELITY},
    }  # fmt: skip

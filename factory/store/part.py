"""A unit's contribution to its shard: tar bytes and index rows, ready to be written."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import pyarrow as pa

from factory.errors import encodable
from factory.job import JobSpec
from factory.metrics import of_images
from factory.record import Record, State, Unit
from factory.store.index import SCHEMA, index_bytes, tar_digest
from factory.store.sample import encode_sample
from factory.store.tar import tar_segment


class Part(NamedTuple):
    tar: bytes  # a segment
    rows: bytes  # an index; offsets count from the segment's start


Parts = Generator[tuple[int, int, Part], None, None]  # (shard, unit, part) as an engine makes them


def pack(unit: Unit, job: JobSpec) -> Part:
    """The part of a finished unit. Gives every record its final state; a record that cannot be encoded has failed."""
    data, rows = b"", []
    for record in unit.records:
        segment = b""
        record.prompt, record.source = encodable(record.prompt), encodable(record.source)
        if record.active:
            try:
                segment = tar_segment(encode_sample(record, job))
                record.state = State.OK
            except Exception as error:
                record.fail(error, "store")
        rows.append(_row(unit, record, len(data), len(segment)))
        data += segment
    return Part(data, index_bytes(pa.Table.from_pylist(rows, SCHEMA), tar_digest(data)))


def _row(unit: Unit, record: Record, offset: int, size: int) -> dict[str, Any]:
    return {
        "key": record.key, "shard": unit.shard, "unit": unit.index,
        "state": str(record.state), "reason": encodable(record.reason), "stage": encodable(record.stage),
        "error": encodable(record.error),
        "attempts": record.attempts, "seed": record.seed, "prompt": record.prompt,
        "source": record.source, "variant": record.variant, "refined": record.refined,
        "people": len(record.people), "offset": offset, "size": size,
        **{metric.name: record.metrics.get(metric.name, metric.missing) for metric in of_images()},
    }  # fmt: skip

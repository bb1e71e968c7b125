"""Why records failed: their errors, counted."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from factory.record import State

VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+")  # addresses, sizes and numbers of records differ between equal errors


@dataclass(frozen=True)
class ErrorCount:
    """How many records failed in one stage with one error, apart from the numbers in its text."""

    stage: str
    error: str  # the text of the first of them in the plan's order
    key: str  # that record's
    count: int


def count_errors(rows: pa.Table) -> list[ErrorCount]:
    """The errors in the rows of an index (index.SCHEMA): most frequent first, then in the plan's order."""
    failed = rows.filter(pc.equal(rows["state"], State.FAILED)).select(["stage", "error", "key"])
    counts: dict[tuple[str, str], ErrorCount] = {}
    for row in failed.to_pylist():
        kind = row["stage"], VARYING.sub("#", row["error"])
        first = counts.get(kind) or ErrorCount(**row, count=0)
        counts[kind] = ErrorCount(first.stage, first.error, first.key, first.count + 1)
    return sorted(counts.values(), key=lambda error: -error.count)

"""Why records failed: their errors, counted."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from factory.record import State

VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+")  # addresses, sizes and numbers of records differ between equal errors


@dataclass(frozen=True)
class Fault:
    """Records that failed in one stage with one error, apart from the numbers in it."""

    stage: str
    error: str  # as one of them has it, the first in the plan's order
    key: str  # that record's
    count: int


def faults(rows: pa.Table) -> list[Fault]:
    """rows: of a data set's index (factory.store.part.SCHEMA). Most frequent first, then in the plan's order."""
    failed = rows.filter(pc.equal(rows["state"], State.FAILED)).select(["stage", "error", "key"])
    found: dict[tuple[str, str], Fault] = {}
    for row in failed.to_pylist():
        alike = row["stage"], VARYING.sub("#", row["error"])
        first = found.get(alike) or Fault(**row, count=0)
        found[alike] = Fault(first.stage, first.error, first.key, first.count + 1)
    return sorted(found.values(), key=lambda fault: -fault.count)

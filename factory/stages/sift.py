"""A batch that cannot be done as a whole: find the guilty records, keep the others, and keep their bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from factory.record import Record, State

Attempt = Callable[[list[Record]], list[Record]]  # records one stage further, in their order; or raises, all untouched


def sift(records: list[Record], attempt: Attempt, stage: str) -> list[Record]:
    """The records one stage further: each is tried alone, and those that raise have failed.

    Rounding follows the shape of a batch and a record's place in it. So the innocent are then done once more, in the
    batch they came in, a copy of one of them in the place of each guilty one: whoever sits beside a bad record gets the
    bytes that he would have had beside a good one. Only where that batch cannot be done at all are they left as they
    came out alone.
    """
    alone: list[Record] = []
    for record in records:
        try:
            alone += attempt([record])
        except Exception as error:
            alone.append(guilty := twin(record))
            guilty.fail(error, stage)
    sound = [record for record, tried in zip(records, alone, strict=True) if not _failed(tried)]
    if not sound or len(records) == 1:
        return alone
    seats = [sound[0] if _failed(tried) else record for record, tried in zip(records, alone, strict=True)]
    try:
        together = attempt(seats)
    except Exception:
        return alone
    return [tried if _failed(tried) else done for tried, done in zip(alone, together, strict=True)]


def twin(record: Record) -> Record:
    """A copy that shares the arrays: stages put new ones in their place and never write into them."""
    return replace(record, people=[replace(person) for person in record.people])


def _failed(record: Record) -> bool:
    return record.state is State.FAILED

"""A batch that raises as a whole: the failing records are found, and the others keep the bytes of a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from factory.record import Record, State

Attempt = Callable[[list[Record]], list[Record]]  # records one stage further, in their order; or raises, all untouched


def sift(records: list[Record], attempt: Attempt, stage: str) -> list[Record]:
    """The records one stage further: each is tried alone, and those that raise have failed.

    Rounding follows the shape of a batch and a record's place in it. So the sound records are then done once more in a
    batch of the first shape, where a copy of one of them stands in the place of each failing record: a sound record
    gets the bytes that it would have had beside sound ones. Where that batch raises, the results of the records tried
    alone are returned.
    """
    alone: list[Record] = []
    for record in records:
        try:
            alone += attempt([record])
        except Exception as error:
            alone.append(failing := twin(record))
            failing.fail(error, stage)
    sound = [record for record, tried in zip(records, alone, strict=True) if not _failed(tried)]
    if not sound or len(records) == 1:
        return alone
    filled = [sound[0] if _failed(tried) else record for record, tried in zip(records, alone, strict=True)]
    try:
        together = attempt(filled)
    except Exception:
        return alone
    return [tried if _failed(tried) else done for tried, done in zip(alone, together, strict=True)]


def twin(record: Record) -> Record:
    """A copy that shares the arrays: stages put new ones in their place and never write into them."""
    return replace(record, people=[replace(person) for person in record.people])


def _failed(record: Record) -> bool:
    return record.state is State.FAILED

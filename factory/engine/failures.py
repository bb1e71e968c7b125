"""Ends a run early when too many of its records fail."""

from __future__ import annotations

from collections import Counter

from factory.errors import UserError
from factory.job import JobSpec
from factory.record import State
from factory.store.index import index_table
from factory.store.part import Part

ENOUGH = 100  # records that a run must have done before it can be ended; max_failed_fraction in job.py says so too


class Failures:
    """Counts the records of one run, and its failed records by error."""

    def __init__(self, job: JobSpec) -> None:
        self.job, self.records = job, 0
        self.errors: Counter[str] = Counter()

    def watch(self, states: Counter[str], part: Part) -> None:
        """Add a finished unit: its part, and its records counted by state. UserError, one line with the most frequent
        errors, once more records have failed than the job's max_failed_fraction allows."""
        self.records += states.total()
        if not states[State.FAILED]:
            return
        rows = index_table(part.rows)[0].select(["state", "stage", "error"]).to_pylist()
        self.errors.update(f"{row['stage']}: {row['error']}" for row in rows if row["state"] == State.FAILED)
        failed, limit = self.errors.total(), self.job.max_failed_fraction
        if self.records >= ENOUGH and failed > limit * self.records:
            most = "; ".join(f"{count} {error[:120]}" for error, count in self.errors.most_common(3))
            raise UserError(
                f"stopped: {failed} of this run's {self.records} records have failed, more than max_failed_fraction "
                f"{limit:g} allows ({most}{'; ...' * (len(self.errors) > 3)}). What is done is kept in "
                f"{self.job.output}; mend the cause, then run again, or raise the limit"
            )

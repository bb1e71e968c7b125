"""Which samples: an SQL condition over the columns of the index, read by SQLite.

SQLite parses and computes it in memory, one statement that may read one table: no file, no Python, no second query.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from factory.errors import UserError
from factory.metrics import of_images

ALIASES = {metric.short.lower(): metric.name for metric in of_images() if metric.short}
FUNCTIONS = {"abs", "coalesce", "glob", "ifnull", "instr", "length", "like", "lower", "max", "min", "round", "upper"}


class Where:
    """A condition such as `score > 30 and people = 1 and prompt like '%diving%'`. A value that is missing fits none."""

    def __init__(self, condition: str, schema: pa.Schema) -> None:
        """Raises UserError where the condition is not SQL, or names a column that the index has not."""
        self.condition = condition
        self.sources = {name: name for name in schema.names if name.isidentifier() and _kind(schema.field(name).type)}
        for name, source in ALIASES.items():
            if source in self.sources:
                self.sources.setdefault(name, source)
        self.read: list[str] = []  # the columns that the condition names
        self.selects = 0
        self.database = sqlite3.connect(":memory:")
        columns = (f'"{name}" {_kind(schema.field(source).type)}' for name, source in self.sources.items())
        self.database.execute(f"CREATE TABLE samples ({', '.join(columns)})")
        if '"' in condition:  # SQLite would take an unknown column in double quotes for a text, in silence
            raise self._fault("text goes in single quotes, columns go without: prompt like '%diving%'")
        self.database.set_authorizer(self._allow)
        try:
            self.database.execute(self._select())
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise self._fault(self._explain(str(error))) from None
        finally:
            self.database.set_authorizer(None)

    def __call__(self, rows: pa.Table) -> np.ndarray:
        """rows (N) -> (N,) bool."""
        names = self.read or list(self.sources)[:1]
        values = zip(*(rows[self.sources[name]].to_pylist() for name in names), strict=True)
        columns = ", ".join(f'"{name}"' for name in names)
        self.database.execute("DELETE FROM samples")
        marks = ", ".join("?" * (len(names) + 1))
        numbered = ((i, *row) for i, row in enumerate(values))
        self.database.executemany(f"INSERT INTO samples (rowid, {columns}) VALUES ({marks})", numbered)
        fits = np.zeros(rows.num_rows, bool)
        try:
            fits[[row for (row,) in self.database.execute(self._select())]] = True
        except sqlite3.Error as error:  # such as an integer overflow
            raise self._fault(str(error)) from None
        return fits

    def _select(self) -> str:
        return f"SELECT rowid FROM samples WHERE ({self.condition}\n)"

    def _allow(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_READ and second and second in self.sources and second not in self.read:
            self.read.append(second)
        if action == sqlite3.SQLITE_SELECT:
            self.selects += 1
        allowed = (
            action == sqlite3.SQLITE_READ
            or (action == sqlite3.SQLITE_SELECT and self.selects == 1)
            or (action == sqlite3.SQLITE_FUNCTION and second in FUNCTIONS)
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    def _explain(self, message: str) -> str:
        if message.startswith("no such column"):
            name = message.partition(": ")[2]
            near = get_close_matches(name, self.sources, 1, cutoff=0.5)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(self.sources))}"
            return f"unknown column {name}; {known}"
        if message.startswith(("not authorized", "no such function")):
            return f"only columns, numbers, texts, comparisons and {', '.join(sorted(FUNCTIONS))} are allowed"
        return f"{message}; write it as score > 30 and people = 1"

    def _fault(self, what: str) -> UserError:
        return UserError(f"--where {self.condition!r}: {what}")


def select(where: Where | None, rows: pa.Table) -> np.ndarray:
    """(N,) bool: the rows that have a sample, and fit."""
    fits = rows["size"].to_numpy() > 0
    return fits & where(rows) if where else fits


def _kind(kind: pa.DataType) -> str:
    kinds: Sequence[tuple[bool, str]] = (
        (pa.types.is_boolean(kind) or pa.types.is_integer(kind), "INTEGER"),
        (pa.types.is_floating(kind), "REAL"),
        (pa.types.is_string(kind) or pa.types.is_large_string(kind), "TEXT"),
    )
    return next((name for fits, name in kinds if fits), "")

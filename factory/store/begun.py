"""Whether a run may go on with the data set that another run has begun at its output.

What a job names on this disk is compared by what it holds, so the files may have moved; everything else by what the job
says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from factory.errors import UserError
from factory.job import JobSpec
from factory.store.dataset import DataSet
from factory.store.index import Damaged
from factory.store.job_json import StoredJob, job_identity

RESOLVED = {"prompts.set", "prompts.categories"}  # what they hold is stored in the fields beside them
LISTED, LONGEST_VALUE = 3, 60  # differences that a refusal lists; characters of a value in it


def require_same_job(stored: StoredJob, job: JobSpec, inputs: dict[str, str], address: str) -> None:
    """UserError where the data set at `address` was begun by another job, with the differences."""
    if differ := differences(job, inputs, stored.job, stored.inputs):
        more = f"; and {len(differ) - LISTED} more" if len(differ) > LISTED else ""
        words = "; ".join(differ[:LISTED]) + more
        raise UserError(f"output: {address} holds another job's data ({words}); undo that or write elsewhere")


def differences(job: JobSpec, inputs: dict[str, str], other: JobSpec, other_inputs: dict[str, str]) -> list[str]:
    """One line for each field that makes `job` another data set than `other`. The inputs are those of
    contents.made_from: what the files hold that each job names."""
    here, there = job_identity(job), job_identity(other)
    same = {field for field, value in inputs.items() if other_inputs.get(field) == value}
    changed = {field: value for field, value in inputs.items() if other_inputs.get(field, value) != value}
    fields = [field for field in here | there if field not in same | RESOLVED | changed.keys()]
    lines = [
        f"{field}: {_compared(there.get(field), here.get(field))}"
        for field in fields
        if here.get(field) != there.get(field)
    ]
    return lines + [f"{field}: {_changed(other_inputs[field], now)}" for field, now in changed.items()]


def require_same_images(data: DataSet) -> None:
    """UserError where the rows of a data set name other images than the job has for them now.

    Versions before did not store the images' identity in job.json, so for their data sets the rows are compared."""
    if not data.job.images or "images.path" in data.stored.inputs:
        return
    for index in data.read_indexes(data.archives()):
        try:
            rows = index.table()[0].select(["key", "source"]).to_pylist()
        except Damaged:  # the run makes it anew
            continue
        for row in rows:
            there, here = row["source"], data.plan.item(int(row["key"][-8:])).name
            if there != here:
                raise UserError(
                    f"output: {data.files.address} was begun with other images (images.path: {row['key']} is of "
                    f"{_cut(there)} there, of {_cut(here)} here); write elsewhere"
                )


def _compared(there: str | None, here: str | None) -> str:
    """Two values of a field, given as JSON, in words. Of two lists only the entries that the other one lacks."""
    old, new = (json.loads(value) if value is not None else None for value in (there, here))
    if not (isinstance(old, list) and isinstance(new, list)):
        return f"{_cut(there or 'absent')} there, {_cut(here or 'absent')} here"
    gone, come = _lacking(old, new), _lacking(new, old)
    if not gone and not come:
        return f"{len(old):,} there, {len(new):,} here, in another order or number"
    words = [
        f"{len(entries):,} of {len(all_entries):,} only {side}, such as "
        + _cut(json.dumps(entries[0], ensure_ascii=False))
        for entries, all_entries, side in ((gone, old, "there"), (come, new, "here"))
        if entries
    ]
    return ", ".join(words)


def _lacking(entries: list[Any], others: Iterable[Any]) -> list[Any]:
    """The entries that are not among the others."""
    try:
        others = set(others)
    except TypeError:  # entries that cannot be hashed are compared one by one
        others = list(others)
    return [entry for entry in entries if entry not in others]


def _changed(there: str, here: str) -> str:
    """An input whose identity has changed. Before its digest an identity may have words for people."""
    old, new = (value.rpartition(": ")[0] for value in (there, here))
    words = (
        f" ({old} there, {new} here)" if old != new else f" ({new}, of another name, order or content)" if new else ""
    )
    return f"what it names has changed since{words}"


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE // 2]}...{value[-LONGEST_VALUE // 2 :]}"

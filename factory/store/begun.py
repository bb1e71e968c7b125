"""What a data set was begun with, as its job.json tells, and whether another run may go on with it.

What lies on this disk is compared by what it holds, so that it may have moved; all else by what the job says. job.json
of an older version tells nothing of the inputs: see `require_same_images` and `completed`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import Plan
from factory.store import layout
from factory.store.dataset import fetch
from factory.store.fs import Files
from factory.store.layout import JOB, part_names, shard_names
from factory.store.part import Damaged, index_table

MADE_WITH = ("factory", "torch", "diffusers", "transformers", "numpy", "pillow")
RESOLVED = {"prompts.set", "prompts.categories"}  # what they hold is stored in the fields beside them
LISTED, LONGEST = 3, 60  # differences that a refusal lists; characters of a value in it


def job_json(job: JobSpec, contents: dict[str, str]) -> bytes:
    """The job and what it was made with: same job, contents, hardware and software give the same bytes."""
    identity = json.dumps(layout.identity(job), sort_keys=True).encode()
    content = {
        "job": job.model_dump(mode="json"),
        "fingerprint": hashlib.sha256(identity).hexdigest(),
        "inputs": contents,
        "made_with": {name: version(name) for name in MADE_WITH},
    }
    return _encoded(content)


def begun(files: Files, job: JobSpec, contents: dict[str, str]) -> dict[str, Any] | None:
    """The job.json of this job's data, None where there are none. UserError where another's are, with what differs."""
    try:
        data = files.read(JOB, 0, layout.MOST + 1)
    except FileNotFoundError:
        return None
    there = layout.parse_job(data, files.where)
    stored = json.loads(data)
    if differ := differences(job, contents, there, inputs_of(stored)):
        more = f"; and {len(differ) - LISTED} more" if len(differ) > LISTED else ""
        words = "; ".join(differ[:LISTED]) + more
        raise UserError(f"output: {files.where} holds another job's data ({words}); undo that or write elsewhere")
    return stored


def inputs_of(stored: dict[str, Any]) -> dict[str, str]:
    """Field -> identity of the input it named, as `contents.made_from`. Older versions stored those of models only."""
    inputs = {**_mapping(stored.get("models")), **_mapping(stored.get("inputs"))}
    return {str(field): str(value) for field, value in inputs.items()}


def completed(stored: dict[str, Any], contents: dict[str, str]) -> bytes | None:
    """job.json with the inputs that it does not tell of; None where it tells of all. So that data begun by an older
    version, or where a model was not at hand, are guarded from now on."""
    known = inputs_of(stored)
    if contents.keys() <= known.keys():
        return None
    rest = {name: value for name, value in stored.items() if name not in ("models", "inputs")}
    return _encoded({**rest, "inputs": {**contents, **known}})


def differences(job: JobSpec, contents: dict[str, str], other: JobSpec, others: dict[str, str]) -> list[str]:
    """What makes `job` another data set than `other`, field by field; contents and others: what their inputs hold."""
    here, there = layout.identity(job), layout.identity(other)
    same = {field for field, value in contents.items() if others.get(field) == value}
    changed = {field: value for field, value in contents.items() if others.get(field, value) != value}
    fields = [field for field in here | there if field not in same | RESOLVED | changed.keys()]
    lines = [
        f"{field}: {_compared(there.get(field), here.get(field))}"
        for field in fields
        if here.get(field) != there.get(field)
    ]
    return lines + [f"{field}: {_changed(others[field], now)}" for field, now in changed.items()]


def require_same_images(
    files: Files, plan: Plan, stored: dict[str, Any], done: Iterable[tuple[int, set[int] | None]]
) -> None:
    """UserError where what is done shows other images than the plan has for it. Asked where job.json does not tell
    which images there were. done: (shard, its units, None for a sealed one)."""
    if not plan.job.images or "images.path" in inputs_of(stored):
        return
    sizes = files.sizes()
    for shard, units in done:
        names = (
            [shard_names(plan, shard)[1]] if units is None else [part_names(shard, unit)[1] for unit in sorted(units)]
        )
        for data in fetch(files, names, sizes):
            try:
                rows = index_table(data)[0].select(["key", "source"]).to_pylist()
            except Damaged:  # then it is made again
                continue
            for row in rows:
                there, here = row["source"], plan.item(int(row["key"][-8:])).name
                if there != here:
                    raise UserError(
                        f"output: {files.where} was begun with other images (images.path: {row['key']} is of "
                        f"{_cut(there)} there, of {_cut(here)} here); write elsewhere"
                    )


def _compared(there: str | None, here: str | None) -> str:
    """Two values of a field, as JSON; of lists what only one of them has."""
    old, new = (json.loads(value) if value is not None else None for value in (there, here))
    if not (isinstance(old, list) and isinstance(new, list)):
        return f"{_cut(there or 'absent')} there, {_cut(here or 'absent')} here"
    gone, come = ([v for v in one if v not in others] for one, others in ((old, _known(new)), (new, _known(old))))
    if not gone and not come:
        return f"{len(old):,} there, {len(new):,} here, in another order or number"
    words = [
        f"{len(some):,} of {len(of):,} only {place}, such as {_cut(json.dumps(some[0], ensure_ascii=False))}"
        for some, of, place in ((gone, old, "there"), (come, new, "here"))
        if some
    ]
    return ", ".join(words)


def _known(values: list[Any]) -> Any:
    try:
        return set(values)
    except TypeError:
        return values


def _changed(there: str, here: str) -> str:
    """Digests say nothing to people, what stands before them may."""
    old, new = (value.rpartition(": ")[0] for value in (there, here))
    words = (
        f" ({old} there, {new} here)" if old != new else f" ({new}, of another name, order or content)" if new else ""
    )
    return f"what it names has changed since{words}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}...{text[-LONGEST // 2 :]}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode()

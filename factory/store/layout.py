"""Where things lie in a data set, and what makes two jobs the same data set."""

from __future__ import annotations

import json
import re

from pydantic import ValidationError

from factory.errors import UserError
from factory.job import STORED, JobSpec
from factory.plan import Plan
from factory.store.fs import Files, open_files
from factory.untrusted import Unreadable, text

JOB, REPORT, CONTACT = "job.json", "report.html", "contact.png"
PARTS = "parts/"
MOST = 1 << 26  # bytes of a job.json
FOLDERS = re.compile(r"parts(/\d{6,})?")  # what a data set makes below its own
PART_INDEX = re.compile(PARTS + r"(\d{6,})/(\d{6,})\.parquet")

# What may differ between two runs of one data set: where it lies, who computes it, and when to give up. `cpus` and
# `device` may not: the number of threads and the kind of processor change the order of sums, hence the bytes.
ELSEWHERE = {"output", "engine", "ray_address", "autoscaler", "max_unit_seconds", "max_failed_fraction"}
HOSTING = {"workers", "gpus"}


def part_names(shard: int, index: int) -> tuple[str, str]:
    """(tar, index) of a unit."""
    return f"{PARTS}{shard:06d}/{index:06d}.tar", f"{PARTS}{shard:06d}/{index:06d}.parquet"


def shard_names(plan: Plan, shard: int) -> tuple[str, str]:
    """(tar, index) of a shard."""
    return f"{plan.shard_name(shard)}.tar", f"{plan.shard_name(shard)}.parquet"


def found(plan: Plan, sizes: dict[str, int]) -> tuple[set[int], dict[int, set[int]]]:
    """Sealed shards, and committed units of the others, among the objects of a data set."""
    shard_index = re.compile(re.escape(plan.job.name) + r"-(\d{6,})\.parquet")
    sealed = {int(match[1]) for match in map(shard_index.fullmatch, sizes) if match and int(match[1]) < plan.shards}
    parts: dict[int, set[int]] = {}
    for match in filter(None, map(PART_INDEX.fullmatch, sizes)):
        shard, index = int(match[1]), int(match[2])
        if shard not in sealed and shard < plan.shards and index < plan.units_in(shard):
            parts.setdefault(shard, set()).add(index)
    return sealed, parts


def identity(job: JobSpec) -> dict[str, str]:
    """Dotted field -> value, of every field that the data follow from."""
    values = job.model_dump(mode="json", exclude=ELSEWHERE)
    for stage in values["stages"].values():
        for field in HOSTING:
            del stage[field]
    return dict(_flat(values, ""))


def read_job(out: str) -> JobSpec:
    """The job that a data set was made from. UserError where there is none."""
    return stored_job(open_files(out), out)


def stored_job(files: Files, out: str) -> JobSpec:
    """As `read_job`, of a place that is open."""
    try:
        return parse_job(files.read(JOB, 0, MOST + 1), out)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{out}: no data set is there (no {JOB})") from None


def fingerprint(files: Files) -> str:
    """What identifies the data set's job, as its JOB object says; empty where it says nothing."""
    try:
        return str(text.loads(files.read(JOB, 0, MOST + 1), MOST)["fingerprint"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def parse_job(data: bytes, out: str) -> JobSpec:
    """The job in the bytes of a JOB object."""
    try:
        values = text.loads(data, MOST)["job"]
        job = JobSpec.model_validate(values, context=STORED)
        if not job.records:  # then the plan would look for its images or poses; a run stores how many there are
            raise Unreadable("records is 0")
        return job
    except (ValueError, ValidationError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0][:300]
        raise UserError(f"{out}/{JOB}: not a job this version can read ({reason})") from None


def _flat(value: object, prefix: str):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, json.dumps(value, ensure_ascii=False)

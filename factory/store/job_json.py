"""job.json: the job that a data set is made from, what its inputs held, and the format in which all is stored.

Formats, by the number in the field `format`:

1   Every version before the field existed, so the field is absent.
2   As 1, and job.json names its format.

A change that an older version of this product would misread takes the next number. A newer format is refused by every
command. An older one is read as it is; a run that goes on with it leaves its number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from pydantic import ValidationError

from factory.errors import UserError
from factory.job import STORED, JobSpec
from factory.store.fs import Files
from factory.store.layout import JOB
from factory.untrusted import Unreadable, text

FORMAT = 2  # what this version writes, and the newest that it reads
MADE_WITH = ("factory", "torch", "diffusers", "transformers", "numpy", "pillow")
JOB_BYTES = 1 << 26  # of a job.json, at most

# What may differ between two runs of one data set: where it lies, who computes it, and when to give up. `cpus` and
# `device` may not: the number of threads and the kind of processor change the order of sums, hence the bytes.
NOT_IDENTITY = {"output", "engine", "ray_address", "autoscaler", "max_unit_seconds", "max_failed_fraction"}
NOT_IDENTITY_OF_STAGES = {"workers", "gpus"}


@dataclass(frozen=True)
class StoredJob:
    """The content of a job.json."""

    job: JobSpec
    fingerprint: str  # hash of the job's identity; every index repeats it. Empty: an early version wrote none
    inputs: dict[str, str]  # field of the job -> identity of what it named, see contents.made_from
    format: int
    content: dict[str, Any]  # as it was read

    def with_inputs(self, inputs: dict[str, str]) -> bytes | None:
        """job.json with those of the inputs added that it does not name yet; None where it names all of them.

        Versions before stored the identity of models alone, and none of a model that was not at hand. Once added, an
        input is guarded like the others."""
        if inputs.keys() <= self.inputs.keys():
            return None
        rest = {name: value for name, value in self.content.items() if name not in ("models", "inputs")}
        return _encoded({**rest, "inputs": {**inputs, **self.inputs}})


def encode_job(job: JobSpec, inputs: dict[str, str]) -> bytes:
    """A new job.json. The same job, inputs, hardware and software give the same bytes."""
    fingerprint = hashlib.sha256(json.dumps(job_identity(job), sort_keys=True).encode()).hexdigest()
    return _encoded(
        {
            "format": FORMAT,
            "job": job.model_dump(mode="json"),
            "fingerprint": fingerprint,
            "inputs": inputs,
            "made_with": {name: version(name) for name in MADE_WITH},
        }
    )


def read_job(files: Files, address: str) -> StoredJob:
    """The job.json of the data set in `files`; messages call the data set `address`. UserError: there is none, it is
    damaged, or a newer version made it."""
    try:
        data = files.read(JOB, 0, JOB_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{address}: no data set is there (no {JOB})") from None
    return decode_job(data, address)


def decode_job(data: bytes, address: str) -> StoredJob:
    """The content of a job.json that lies in the data set called `address`. UserError: damaged, or a newer version
    made it."""
    try:
        content = text.loads(data, JOB_BYTES)
        number = content.get("format", 1)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise Unreadable(f"its format is {number!r}, which is none")
        if number > FORMAT:
            raise UserError(
                f"{address}: this data set was made by a newer version of factory ({JOB} has format {number}, this "
                f"version reads up to {FORMAT}); update factory"
            )
        job = JobSpec.model_validate(content["job"], context=STORED)
        if not job.records:  # then the plan would look for its images or poses; a run stores how many there are
            raise Unreadable("records is 0")
    except (ValueError, ValidationError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0][:300]
        raise UserError(f"{address}/{JOB}: not a job this version can read ({reason})") from None
    inputs = {**_mapping(content.get("models")), **_mapping(content.get("inputs"))}
    named = {str(field): str(value) for field, value in inputs.items()}
    return StoredJob(job, str(content.get("fingerprint", "")), named, number, content)


def job_identity(job: JobSpec) -> dict[str, str]:
    """Dotted field -> JSON of its value, of every field that decides what the data set holds. Two jobs with equal
    identities make the same data set."""
    values = job.model_dump(mode="json", exclude=NOT_IDENTITY)
    for stage in values["stages"].values():
        for field in NOT_IDENTITY_OF_STAGES:
            del stage[field]
    return dict(_flat(values, ""))


def _flat(value: object, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, json.dumps(value, ensure_ascii=False)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode()

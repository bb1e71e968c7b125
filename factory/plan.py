"""The plan: what a job will make, down to every record's key, seed and prompt, before anything is made.

Pure and lazy: record i follows from the job alone, so a plan of a hundred million records costs nothing to hold, any
worker may rebuild any unit, and a resumed run plans the same as the first.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator
from dataclasses import dataclass

from factory.errors import UserError
from factory.job import JobSpec
from factory.record import Record, Unit

MAX_RECORDS = 10**8  # keys have eight digits, and must sort as they count
MAX_NAME = 64  # a tar member's name has at most 100 bytes

# Bytes per pixel of what a sample holds, on the generous side; measured on photographs at quality 95.
JPEG, DEPTH, MASKS = 0.8, 4.0, 0.1
PERSON = 8_000  # bytes of smpl.npz and json; several people add 2 kB each
TAR_HEADER = 1_024  # a header and, on average, half a block of padding


@dataclass(frozen=True)
class Plan:
    """records -> units of job.unit_size -> shards of job.samples_per_shard; the last unit and shard may be short."""

    job: JobSpec

    @property
    def records(self) -> int:
        return self.job.records

    @property
    def shards(self) -> int:
        return _ceil(self.records, self.job.samples_per_shard)

    @property
    def units(self) -> int:
        return _ceil(self.records, self.job.unit_size)  # shards hold whole units

    def shard_name(self, shard: int) -> str:
        return f"{self.job.name}-{shard:06d}"

    def records_in(self, shard: int) -> int:
        return min(self.job.samples_per_shard, self.records - shard * self.job.samples_per_shard)

    def units_in(self, shard: int) -> int:
        return _ceil(self.records_in(shard), self.job.unit_size)

    def record(self, index: int) -> Record:
        key = f"{self.job.name}-{index:08d}"
        digest = hashlib.blake2b(f"{self.job.seed}:{key}".encode()).digest()
        seed = int.from_bytes(digest[:8]) & (2**63 - 1)
        return Record(key=key, seed=seed, prompt=self._prompt(seed))

    def unit(self, shard: int, index: int) -> Unit:
        start = shard * self.job.samples_per_shard + index * self.job.unit_size
        stop = min(start + self.job.unit_size, self.records)
        return Unit(shard, index, [self.record(i) for i in range(start, stop)])

    def ids(self) -> Iterator[tuple[int, int]]:
        """(shard, index) of every unit, in order."""
        return ((shard, index) for shard in range(self.shards) for index in range(self.units_in(shard)))

    def iter_units(self) -> Iterator[Unit]:
        return (self.unit(shard, index) for shard, index in self.ids())

    def _prompt(self, seed: int) -> str:
        choice = {}
        for field in _template_fields(self.job):
            options = getattr(self.job.prompts, field)
            seed, i = divmod(seed, len(options))
            choice[field] = options[i]
        return self.job.prompts.template.format(**choice)

    @property
    def sample_bytes(self) -> int:
        """About how much one sample takes on storage."""
        pixels, extras = self.job.image_size**2, self.job.sample.extras
        images = pixels * JPEG * (2 if "initial" in extras else 1)
        extra = pixels * (DEPTH * ("depth" in extras) + MASKS * ("masks" in extras))
        members = 3 + ("initial" in extras) + ("depth" in extras) + 2 * ("masks" in extras)
        return int(images + extra + PERSON + members * TAR_HEADER)

    @property
    def bytes(self) -> int:
        """About how much the data set takes on storage if no record is rejected."""
        return self.records * self.sample_bytes


def plan(job: JobSpec) -> Plan:
    """The job's plan. Raises UserError where the job's numbers or its prompt template do not fit together."""
    if job.samples_per_shard % job.unit_size:
        raise UserError(
            f"samples_per_shard: {job.samples_per_shard} is no multiple of unit_size {job.unit_size}; "
            f"take {_ceil(job.samples_per_shard, job.unit_size) * job.unit_size}"
        )
    if job.records > MAX_RECORDS:
        raise UserError(f"records: {job.records} is more than the {MAX_RECORDS} one job can hold; split it into jobs")
    if len(job.name) > MAX_NAME:
        raise UserError(f"name: {job.name!r} is longer than {MAX_NAME} characters; shorten it")
    lists = set(type(job.prompts).model_fields) - {"template"}
    for field in _template_fields(job):
        if field not in lists:
            raise UserError(f"prompts.template: unknown field {{{field}}}; there are {', '.join(sorted(lists))}")
    return Plan(job)


def _template_fields(job: JobSpec) -> list[str]:
    """Names in braces, each once, in the template's order."""
    try:
        parsed = list(string.Formatter().parse(job.prompts.template))
    except ValueError as error:
        raise UserError(f"prompts.template: {error}; write {{{{ for a brace") from None
    for _, field, spec, conversion in parsed:
        if field is not None and (spec or conversion):
            raise UserError(f"prompts.template: {{{field}}} takes no format; write only the name in braces")
    return list(dict.fromkeys(field for _, field, _, _ in parsed if field is not None))


def _ceil(a: int, b: int) -> int:
    return -(-a // b)

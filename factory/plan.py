"""The plan of a job: the key, seed and prompt of every record, and its division into units and shards.

A plan is computed on demand and has no side effects: record i follows from the job and from the listing of its real
images or given poses, which is read once. So a plan of a hundred million records takes no memory, any worker can
rebuild any unit, and a resumed run has the same plan as the first.

With k variants per image, record i is variant i % k of image i // k. When there are more records than images or poses,
these are used again from the first one on.
"""

from __future__ import annotations

import hashlib
import string
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

import numpy as np

from factory.errors import UserError
from factory.job import JobSpec, Words
from factory.record import Record, Unit
from factory.sources import images, keypoints, poses
from factory.sources.item import Item, Listing

MAX_RECORDS = 10**8  # keys have eight digits, so that their alphabetical order is that of the numbers
LISTS = ("action", "description", "person")  # fields that a template may name
NOTHING = Item("")
MAX_NAME = 64  # a tar member's name has at most 100 bytes

# Bytes per pixel of a sample's files, rounded up; measured on photographs at quality 95.
JPEG, DEPTH, MASKS = 0.8, 4.0, 0.1
PERSON = 8_000  # bytes of smpl.npz and json; several people add 2 kB each
TAR_HEADER = 1_024  # a header and, on average, half a block of padding


@dataclass(frozen=True)
class Plan:
    """Records are grouped into units of job.unit_size, and units into shards of job.samples_per_shard records. The last
    unit and the last shard may be shorter."""

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

    @property
    def variants(self) -> int:
        """Number of records that are made of each image."""
        augment = self.job.stages.estimate.augment
        return augment.variants if augment else 1

    @cached_property
    def listing(self) -> Listing:
        """The listing of the real images, or else of the rows of the given poses; empty when the job has neither.
        UserError: they are not there, or no label belongs to any of the images."""
        return _listing(self.job)

    @property
    def sources(self) -> list[Item]:
        return self.listing.items

    def record(self, index: int) -> Record:
        """Record number `index`, as the first stage gets it. UserError: the real images or given poses are not
        there."""
        seed, variant = self._seed(index), index % self.variants
        record = Record(self._key(index), seed, "", variant=variant)
        if self.sources:
            item = self.item(index)
            record.source = item.name
            record.window = None if item.window is None else np.array(item.window, np.float32)
        else:
            item = NOTHING
        first = seed if self.job.images else self._seed(index - variant)
        if variant and not self.job.images:
            record.image_seed = first
        record.prompt = self._prompt(first, item)
        return record

    def item(self, index: int) -> Item:
        """The real image or given pose of a record; the job must have some."""
        return self.sources[index // self.variants % len(self.sources)]

    def names(self, shard: int, index: int) -> list[tuple[str, int]]:
        """(key, seed) of a unit's records. The real images or given poses need not be there."""
        start = shard * self.job.samples_per_shard + index * self.job.unit_size
        stop = min(start + self.job.unit_size, self.records)
        return [(self._key(i), self._seed(i)) for i in range(start, stop)]

    def _key(self, index: int) -> str:
        return f"{self.job.name}-{index:08d}"

    def _seed(self, index: int) -> int:
        digest = hashlib.blake2b(f"{self.job.seed}:{self._key(index)}".encode()).digest()
        return int.from_bytes(digest[:8]) & (2**63 - 1)

    def unit(self, shard: int, index: int) -> Unit:
        start = shard * self.job.samples_per_shard + index * self.job.unit_size
        stop = min(start + self.job.unit_size, self.records)
        return Unit(shard, index, [self.record(i) for i in range(start, stop)])

    def ids(self) -> Iterator[tuple[int, int]]:
        """(shard, index) of every unit, in order."""
        return ((shard, index) for shard in range(self.shards) for index in range(self.units_in(shard)))

    def iter_units(self) -> Iterator[Unit]:
        return (self.unit(shard, index) for shard, index in self.ids())

    def _prompt(self, seed: int, item: Item) -> str:
        prompts = self.job.prompts
        template, rest = _draw(prompts.template, seed, seed, "template")
        choice = {}
        for field in template_fields(template):
            if field == "action" and item.action:
                choice[field] = item.action
                continue
            if not getattr(prompts, field):
                raise UserError(f"prompts.{field}: {item.name} comes without one; list some")
            choice[field], rest = _draw(getattr(prompts, field), seed, rest, field)
        return template.format(**choice)

    @property
    def sample_bytes(self) -> int:
        """Estimated bytes of one sample."""
        pixels, extras = self.job.image_size**2, self.job.sample.extras
        images = pixels * JPEG * (2 if "initial" in extras else 1)
        extra = pixels * (DEPTH * ("depth" in extras) + MASKS * ("masks" in extras))
        members = 3 + ("initial" in extras) + ("depth" in extras) + 2 * ("masks" in extras)
        return int(images + extra + PERSON + members * TAR_HEADER)

    @property
    def bytes(self) -> int:
        """Estimated bytes of the whole data set if no record is rejected."""
        return self.records * self.sample_bytes


def plan(job: JobSpec) -> Plan:
    """The job's plan. UserError when the job's numbers, or its prompt template and lists, do not fit together."""
    if job.samples_per_shard % job.unit_size:
        raise UserError(
            f"samples_per_shard: {job.samples_per_shard} is no multiple of unit_size {job.unit_size}; "
            f"take {_ceil(job.samples_per_shard, job.unit_size) * job.unit_size}"
        )
    if job.records > MAX_RECORDS:
        raise UserError(f"records: {job.records} is more than the {MAX_RECORDS} one job can hold; split it into jobs")
    if len(job.name) > MAX_NAME:
        raise UserError(f"name: {job.name!r} is longer than {MAX_NAME} characters; shorten it")
    for template in [job.prompts.template] if isinstance(job.prompts.template, str) else job.prompts.template:
        for field in template_fields(template):
            if field not in LISTS:
                raise UserError(f"prompts.template: unknown field {{{field}}}; there are {', '.join(LISTS)}")
            if not getattr(job.prompts, field) and not (field == "action" and job.images):
                raise UserError(f"prompts.{field} is missing or empty, and the template asks for it")
    planned = Plan(job)
    if job.records:
        return planned
    each_once = Plan(job.model_copy(update={"records": len(planned.sources) * planned.variants}))
    vars(each_once)["listing"] = planned.listing  # so that millions of files are not listed twice
    return each_once


def _listing(job: JobSpec) -> Listing:
    if job.images:
        listing = images.listing(job.images, job.seed)
        names = [item.name for item in listing.items]
        if job.images.keypoints:
            listing.notes.append(keypoints.require_keypoints(job.images.keypoints, names))
        if job.poses:
            listing.notes.append(poses.require_poses(job.poses, names))
        return listing
    if job.poses:
        return Listing([Item(str(row)) for row in range(len(poses.load_poses(job.poses)))])
    return Listing([])


def _draw(words: str | Words, seed: int, rest: int, purpose: str) -> tuple[str, int]:
    """(a text drawn from `words`, what is left of `rest`). `rest` begins as the seed. A uniform choice consumes digits
    of it (divmod); a weighted choice hashes the seed together with the purpose instead, and leaves `rest` as it is."""
    if isinstance(words, str):
        return words, rest
    if isinstance(words, list):
        rest, i = divmod(rest, len(words))
        return words[i], rest
    digest = hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
    limits = list(accumulate(words.values()))
    return list(words)[bisect(limits, int.from_bytes(digest) / 2**64 * limits[-1], hi=len(limits) - 1)], rest


@lru_cache(maxsize=256)
def template_fields(template: str) -> list[str]:
    """The names in the template's braces, each once, in their order."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"prompts.template: {error}; write {{{{ for a brace") from None
    for _, field, spec, conversion in parsed:
        if field is not None and (spec or conversion):
            raise UserError(f"prompts.template: {{{field}}} takes no format; write only the name in braces")
    return list(dict.fromkeys(field for _, field, _, _ in parsed if field is not None))


def _ceil(a: int, b: int) -> int:
    return -(-a // b)

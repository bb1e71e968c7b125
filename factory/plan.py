"""The plan: what a job will make, down to every record's key, seed and prompt, before anything is made.

Pure and lazy: record i follows from the job alone, and from the listing of its real images or given poses, read once.
So a plan of a hundred million records costs nothing to hold, any worker may rebuild any unit, and a resumed run
plans the same as the first.

Record i is variant i % k of image i // k; images and poses come round again when there are fewer of them.
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

MAX_RECORDS = 10**8  # keys have eight digits, and must sort as they count
LISTS = ("action", "description", "person")  # that a template may name
NOTHING = Item("")
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

    @property
    def variants(self) -> int:
        """Records per image."""
        augment = self.job.stages.estimate.augment
        return augment.variants if augment else 1

    @cached_property
    def listing(self) -> Listing:
        """The real images, or else the rows of the given poses; none in a job from text alone; and what to know of
        them. UserError: not there, or labels that belong to none of them."""
        return _listing(self.job)

    @property
    def sources(self) -> list[Item]:
        return self.listing.items

    def record(self, index: int) -> Record:
        """UserError: the real images or given poses are not there."""
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
        """The real image or given pose of a record, where the job has some."""
        return self.sources[index // self.variants % len(self.sources)]

    def names(self, shard: int, index: int) -> list[tuple[str, int]]:
        """(key, seed) of a unit's records; needs no real images or given poses to be there."""
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
    vars(each_once)["listing"] = planned.listing  # listing millions of files twice takes a while
    return each_once


def _listing(job: JobSpec) -> Listing:
    if job.images:
        found = images.listing(job.images, job.seed)
        names = [item.name for item in found.items]
        if job.images.keypoints:
            found.notes.append(keypoints.require_keypoints(job.images.keypoints, names))
        if job.poses:
            found.notes.append(poses.require_poses(job.poses, names))
        return found
    if job.poses:
        return Listing([Item(str(row)) for row in range(len(poses.load_poses(job.poses)))])
    return Listing([])


def _draw(words: str | Words, seed: int, rest: int, purpose: str) -> tuple[str, int]:
    """(text, what is left of `rest`). Equal chances use up the digits of the seed; weights have a draw of their own."""
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
    """Names in braces, each once, in the template's order."""
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

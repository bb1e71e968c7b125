"""What is read: the sealed shards of a data set, the samples in them that are wanted, and their people as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.errors import UserError
from factory.export import split as splits
from factory.job import JobSpec
from factory.plan import Plan, plan
from factory.store import layout, opened
from factory.store.dataset import fetch, in_order
from factory.store.fs import open_files
from factory.store.layout import shard_names
from factory.store.part import SCHEMA, Head, index_table
from factory.store.where import Where, select

ARRAYS = ("pose", "betas", "transl", "K", "joints2d", "joints3d", "bbox", "detection_score")  # that exports need
PLACE = ("shard", "offset", "size", "number")  # where a sample lies, and which record it is
KINDS = [("split", "i4"), ("order", "f8"), *((name, "i8") for name in PLACE)]
NEVER_NULL = ("key", "source", "variant", "people", "offset", "size")
DAMAGED = (ValueError, KeyError, FileNotFoundError)  # what reading raises whose bytes are not those written


@dataclass(frozen=True)
class Sample:
    """One image and its people; ARRAYS (P, ...) as in smpl.npz."""

    key: str
    jpg: bytes
    width: int
    height: int
    people: dict[str, np.ndarray]
    depth: np.ndarray | None = None  # (H, W) float32 m, where it was stored


class Source:
    """A data set, opened for reading. UserError where there is none, or none of its shards is sealed.

    shards: the sealed ones, by number. digests: shard -> hash of its index, once `choose` has read it.
    """

    def __init__(self, out: str) -> None:
        self.out, self.files = out, open_files(out)
        self.job = layout.read_job(out)
        self.plan: Plan = plan(self.job)
        self.sizes = self.files.sizes()
        self.shards = sorted(layout.found(self.plan, self.sizes)[0])
        self.digests: dict[int, str] = {}
        if not self.shards:
            raise UserError(f"{out}: no shard is sealed yet, so there is nothing to export; let factory run go on")

    def choose(self, shares: dict[str, float], condition: str | None) -> dict[str, np.ndarray]:
        """Split -> places (N, 4) int64: shard, offset, size, number of the record; shuffled. some 70 bytes a sample are
        all that grows with the data set.

        UserError where nothing fits, where a split stays empty, where no sample shows a person, or where an index is
        damaged.
        """
        where, found, total, people = None, [], 0, 0
        for shard, rows in self._indexes():
            if condition is not None and where is None:
                where = Where(condition, rows.schema)
            total += int((rows["size"].to_numpy() > 0).sum())
            rows = rows.filter(select(where, rows))
            people += pc.sum(rows["people"]).as_py() or 0
            keys = rows["key"].to_pylist()
            entries = np.empty(len(keys), KINDS)
            entries["split"] = [splits.assign(group, shares) for group in _groups(rows)]
            entries["order"] = [splits.order(key) for key in keys]
            entries["shard"], entries["number"] = shard, [int(key[-8:]) for key in keys]
            entries["offset"], entries["size"] = rows["offset"].to_numpy(), rows["size"].to_numpy()
            found.append(entries)
        chosen = np.concatenate(found)
        if not len(chosen):
            raise UserError(
                f"--where {condition!r}: none of the {total:,} samples fits" if total else
                f"{self.out}: its sealed shards hold no sample; every record was rejected or failed"
            )  # fmt: skip
        if not people:
            raise UserError(f"{self.out}: none of the {len(chosen):,} images that fit shows a person; export others")
        chosen = chosen[np.argsort(chosen["order"], kind="stable")]
        places = {
            name: np.stack([chosen[chosen["split"] == i][field] for field in PLACE], 1) for i, name in enumerate(shares)
        }
        for name, some in places.items():
            if not len(some):
                raise UserError(
                    f"--split {name}={shares[name]:g}: none of the {len(chosen):,} images falls to it; enlarge it"
                )
        return places

    def changed(self) -> list[int]:
        """Those of the shards that `choose` has read whose index is another one now, or gone."""
        names = [shard_names(self.plan, shard)[1] for shard in self.digests]
        stored = fetch(self.files, names, self.sizes)
        return [
            shard for (shard, digest), data in zip(self.digests.items(), stored, strict=True)
            if data is None or _digest(data) != digest
        ]  # fmt: skip

    def read(self, places: np.ndarray) -> Iterator[Sample]:
        """The samples at (N, 4) places, in that order, one in memory at a time; from an object store some ahead.
        UserError, naming the sample, where one is damaged or is not the one that the plan has there."""
        return in_order(self._read, places.tolist(), self.files, lambda place: place[2])

    def _read(self, place: list[int]) -> Sample:
        shard, offset, size, number = place
        name, key = shard_names(self.plan, shard)[0], self._key(number)
        try:
            return _sample(key, opened.segment(self.files, name, key, offset, size, self.job), self.job)
        except DAMAGED as error:
            raise UserError(f"{self.out}/{name}: {key}: {_damage(error)}") from None

    def _indexes(self) -> Iterator[tuple[int, pa.Table]]:
        """(shard, rows) of the shards."""
        names = [shard_names(self.plan, shard)[1] for shard in self.shards]
        self.digests = {}
        for shard, name, data in zip(self.shards, names, fetch(self.files, names, self.sizes), strict=True):
            try:
                if data is None:
                    raise ValueError("it was removed just now")
                rows = self._checked(shard, *index_table(data, f"{self.out}/{name}"))
            except (pa.ArrowException, OSError, *DAMAGED) as error:
                raise UserError(f"{self.out}/{name}: {_damage(error)}") from None
            self.digests[shard] = _digest(data)
            yield shard, rows

    def _checked(self, shard: int, rows: pa.Table, head: Head) -> pa.Table:
        """The rows. ValueError where they are not those of the plan, or point outside their shard."""
        if rows.schema != SCHEMA:
            raise ValueError("its columns are not those of an index")
        if any(rows[name].null_count for name in NEVER_NULL):
            raise ValueError("values are missing")
        tar_name = shard_names(self.plan, shard)[0]
        stored = self.sizes.get(tar_name, 0)
        if head.bytes != stored:
            raise ValueError(f"it tells of {head.bytes} bytes, {tar_name} has {stored}")
        if rows.num_rows != self.plan.records_in(shard):
            raise ValueError("its keys are not those that the plan has for this shard")
        start = shard * self.job.samples_per_shard
        planned = [self._key(start + i) for i in range(self.plan.records_in(shard))]
        if rows["key"].to_pylist() != planned:
            raise ValueError("its keys are not those that the plan has for this shard")
        offset, size = (rows[name].to_numpy() for name in ("offset", "size"))
        if (size < 0).any() or ((size > 0) & ((offset < 0) | (size > stored - offset))).any():
            raise ValueError(f"it points outside {tar_name}")
        return rows

    def _key(self, number: int) -> str:
        return f"{self.job.name}-{number:08d}"


def _groups(rows: pa.Table) -> Iterator[str]:
    """For each row a name that all share that were made from one image: they must not lie on both sides of a split."""
    keys, count = rows["key"].to_pylist(), rows.num_rows
    sources = rows["source"].to_pylist() if "source" in rows.column_names else [""] * count
    variants = rows["variant"].to_pylist() if "variant" in rows.column_names else [0] * count
    for key, source, variant in zip(keys, sources, variants, strict=True):
        name, number = key[:-8], int(key[-8:])
        yield source or f"{name}{number - variant:08d}"


def _sample(key: str, files: dict[str, bytes], job: JobSpec) -> Sample:
    """One of DAMAGED where it is not what a sample must be."""
    told, side = opened.told(files["json"]), job.image_size
    if told.key != key:
        raise ValueError(f"its json says that it is {told.key[:100]!r}")
    if (told.width, told.height) != (side, side):
        raise ValueError(f"its json says {told.width} x {told.height} px, the job {side} x {side}")
    jpg = files["jpg"]
    if not jpg.startswith(b"\xff\xd8") or not jpg.endswith(b"\xff\xd9"):
        raise ValueError("its jpg is cut off")
    people = opened.people(files["smpl.npz"], ARRAYS)
    if len(people["pose"]) != told.people:
        raise ValueError(f"{len(people['pose'])} people, not the {told.people} that its json tells of")
    depth = opened.depth(files["depth.npy"], job) if "depth.npy" in files else None
    return Sample(key, jpg, side, side, people, depth)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _damage(error: Exception) -> str:
    why = f"has no {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)
    return f"damaged ({' '.join(why.split())[:200]}); factory verify tells how much of it"

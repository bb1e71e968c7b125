"""What an export reads: the sealed shards of a data set, the samples in them that are wanted, and their people."""

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
from factory.store.dataset import DataSet
from factory.store.decode import cut_sample, decode_depth, decode_json, decode_people
from factory.store.index import SCHEMA, Head, StoredIndex
from factory.store.read_ahead import in_order
from factory.store.where import Where, select

ARRAYS = ("pose", "betas", "transl", "K", "joints2d", "joints3d", "bbox", "detection_score")  # that exports need
LOCATION = ("shard", "offset", "size", "number")  # where a sample lies, and which record it is
ENTRY_FIELDS = [("split", "i4"), ("order", "f8"), *((name, "i8") for name in LOCATION)]
NEVER_NULL = ("key", "source", "variant", "people", "offset", "size")
DAMAGE = (ValueError, KeyError, FileNotFoundError)  # what reading raises over bytes that are not those written


@dataclass(frozen=True)
class ExportSample:
    """One image and its people; ARRAYS (P, ...) as in smpl.npz."""

    key: str
    jpg: bytes
    width: int
    height: int
    people: dict[str, np.ndarray]
    depth: np.ndarray | None = None  # (H, W) float32 m, where it was stored


class ExportSource:
    """The sealed shards of a data set. UserError where there are none.

    shards: their numbers. digests: shard -> hash of its index, once `choose` has read it.
    """

    def __init__(self, data: DataSet) -> None:
        self.data, self.job, self.plan, self.address = data, data.job, data.plan, data.address
        self.shards = sorted(data.sealed)
        self.digests: dict[int, str] = {}
        if not self.shards:
            raise UserError(
                f"{self.address}: no shard is sealed yet, so there is nothing to export; let factory run go on"
            )

    def choose(self, shares: dict[str, float], condition: str | None) -> dict[str, np.ndarray]:
        """Split -> locations (N, 4) int64: shard, offset, size, number of the record; shuffled. They are all that grows
        with the data set: some 70 bytes a sample.

        UserError where nothing fits, where a split stays empty, where no sample shows a person, or where an index is
        damaged.
        """
        where, kept, total, people = None, [], 0, 0
        for shard, rows in self._tables():
            if condition is not None and where is None:
                where = Where(condition, rows.schema)
            total += int((rows["size"].to_numpy() > 0).sum())
            rows = rows.filter(select(where, rows))
            people += pc.sum(rows["people"]).as_py() or 0
            keys = rows["key"].to_pylist()
            entries = np.empty(len(keys), ENTRY_FIELDS)
            entries["split"] = [splits.assign(group, shares) for group in _groups(rows)]
            entries["order"] = [splits.order(key) for key in keys]
            entries["shard"], entries["number"] = shard, [int(key[-8:]) for key in keys]
            entries["offset"], entries["size"] = rows["offset"].to_numpy(), rows["size"].to_numpy()
            kept.append(entries)
        chosen = np.concatenate(kept)
        if not len(chosen):
            raise UserError(
                f"--where {condition!r}: none of the {total:,} samples fits" if total else
                f"{self.address}: its sealed shards hold no sample; every record was rejected or failed"
            )  # fmt: skip
        if not people:
            raise UserError(
                f"{self.address}: none of the {len(chosen):,} images that fit shows a person; export others"
            )
        chosen = chosen[np.argsort(chosen["order"], kind="stable")]
        locations = {
            name: np.stack([chosen[chosen["split"] == i][field] for field in LOCATION], 1)
            for i, name in enumerate(shares)
        }
        for name, members in locations.items():
            if not len(members):
                raise UserError(
                    f"--split {name}={shares[name]:g}: none of the {len(chosen):,} images falls to it; enlarge it"
                )
        return locations

    def changed(self) -> list[int]:
        """Those of the shards that `choose` has read whose index is another one now, or gone."""
        indexes = self.data.read_indexes(map(self.data.shard, self.digests))
        return [
            shard
            for (shard, digest), index in zip(self.digests.items(), indexes, strict=True)
            if _digest(index) != digest
        ]

    def read(self, locations: np.ndarray) -> Iterator[ExportSample]:
        """The samples at (N, 4) locations, in that order, one in memory at a time; from an object store some ahead.
        UserError, naming the sample, where one is damaged or is not the one that the plan has there."""
        return in_order(self._read, locations.tolist(), self.data.files, lambda location: location[2])

    def _read(self, location: list[int]) -> ExportSample:
        shard, offset, size, number = location
        tar_name, key = self.data.shard(shard).tar_name, self._key(number)
        try:
            files = cut_sample(self.data.files, tar_name, key, offset, size, self.job)
            return _sample(key, files, self.job)
        except DAMAGE as error:
            raise UserError(f"{self.address}/{tar_name}: {key}: {_damage(error)}") from None

    def _tables(self) -> Iterator[tuple[int, pa.Table]]:
        """(shard, rows) of the shards."""
        self.digests = {}
        for shard, index in zip(self.shards, self.data.read_indexes(map(self.data.shard, self.shards)), strict=True):
            if index.gone:
                raise UserError(f"{index.address}: {_damage(ValueError('it was removed just now'))}")
            try:
                rows = self._checked(shard, *index.table())
            except (pa.ArrowException, OSError, *DAMAGE) as error:
                raise UserError(f"{index.address}: {_damage(error)}") from None
            self.digests[shard] = _digest(index)
            yield shard, rows

    def _checked(self, shard: int, rows: pa.Table, head: Head) -> pa.Table:
        """The rows. ValueError where they are not those of the plan, or point outside their shard."""
        if rows.schema != SCHEMA:
            raise ValueError("its columns are not those of an index")
        if any(rows[name].null_count for name in NEVER_NULL):
            raise ValueError("values are missing")
        tar_name = self.data.shard(shard).tar_name
        stored = self.data.sizes.get(tar_name, 0)
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
    """For each row the name of its group. Rows that were made from one image are one group: they must not lie on both
    sides of a split."""
    keys, count = rows["key"].to_pylist(), rows.num_rows
    sources = rows["source"].to_pylist() if "source" in rows.column_names else [""] * count
    variants = rows["variant"].to_pylist() if "variant" in rows.column_names else [0] * count
    for key, source, variant in zip(keys, sources, variants, strict=True):
        name, number = key[:-8], int(key[-8:])
        yield source or f"{name}{number - variant:08d}"


def _sample(key: str, files: dict[str, bytes], job: JobSpec) -> ExportSample:
    """One of DAMAGE where it is not what a sample must be."""
    about, side = decode_json(files["json"]), job.image_size
    if about.key != key:
        raise ValueError(f"its json says that it is {about.key[:100]!r}")
    if (about.width, about.height) != (side, side):
        raise ValueError(f"its json says {about.width} x {about.height} px, the job {side} x {side}")
    jpg = files["jpg"]
    if not jpg.startswith(b"\xff\xd8") or not jpg.endswith(b"\xff\xd9"):
        raise ValueError("its jpg is cut off")
    people = decode_people(files["smpl.npz"], ARRAYS)
    if len(people["pose"]) != about.people:
        raise ValueError(f"{len(people['pose'])} people, not the {about.people} that its json tells of")
    depth = decode_depth(files["depth.npy"], job) if "depth.npy" in files else None
    return ExportSample(key, jpg, side, side, people, depth)


def _digest(index: StoredIndex) -> str:
    return "" if index.gone else hashlib.blake2b(index.data, digest_size=16).hexdigest()


def _damage(error: Exception) -> str:
    why = f"has no {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)
    return f"damaged ({' '.join(why.split())[:200]}); factory verify tells how much of it"

"""What is read: the sealed shards of a data set, the samples in them that are wanted, and their people as arrays."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory.errors import UserError
from factory.export import archive
from factory.export import split as splits
from factory.plan import Plan, plan
from factory.store import layout
from factory.store.dataset import in_order
from factory.store.fs import open_files
from factory.store.layout import shard_names
from factory.store.part import index_table
from factory.store.tar import members
from factory.store.where import Where, select

ARRAYS = ("pose", "betas", "transl", "K", "joints2d", "joints3d", "bbox", "detection_score")  # that exports need
KINDS = [("split", "i4"), ("order", "f8"), ("shard", "i8"), ("offset", "i8"), ("size", "i8")]


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
    """A data set, opened for reading. UserError where there is none, or none of its shards is sealed."""

    def __init__(self, out: str) -> None:
        self.out, self.files = out, open_files(out)
        self.job = layout.read_job(out)
        self.plan: Plan = plan(self.job)
        self.shards = sorted(layout.found(self.plan, self.files.sizes())[0])
        if not self.shards:
            raise UserError(f"{out}: no shard is sealed yet, so there is nothing to export; let factory run go on")

    def choose(self, shares: dict[str, float], condition: str | None) -> dict[str, np.ndarray]:
        """Split -> places (N, 3) int64, shuffled. some 60 bytes a sample are all that grows with the data set.

        UserError where nothing fits, or where a split stays empty.
        """
        where, found, total = None, [], 0
        for shard in self.shards:
            rows = index_table(self.files.read(shard_names(self.plan, shard)[1]))[0]
            if condition is not None and where is None:
                where = Where(condition, rows.schema)
            total += int((rows["size"].to_numpy() > 0).sum())
            rows = rows.filter(select(where, rows))
            keys = rows["key"].to_pylist()
            entries = np.empty(len(keys), KINDS)
            entries["split"] = [splits.assign(group, shares) for group in _groups(rows)]
            entries["order"] = [splits.order(key) for key in keys]
            entries["shard"] = shard
            entries["offset"], entries["size"] = rows["offset"].to_numpy(), rows["size"].to_numpy()
            found.append(entries)
        chosen = np.concatenate(found)
        if not len(chosen):
            raise UserError(
                f"--where {condition!r}: none of the {total:,} samples fits" if total else
                f"{self.out}: its sealed shards hold no sample; every record was rejected or failed"
            )  # fmt: skip
        chosen = chosen[np.argsort(chosen["order"], kind="stable")]
        places = {
            name: np.stack([chosen[chosen["split"] == i][field] for field in ("shard", "offset", "size")], 1)
            for i, name in enumerate(shares)
        }
        for name, some in places.items():
            if not len(some):
                raise UserError(
                    f"--split {name}={shares[name]:g}: none of the {len(chosen):,} images falls to it; enlarge it"
                )
        return places

    def read(self, places: np.ndarray) -> Iterator[Sample]:
        """The samples at (N, 3) places, in that order, one in memory at a time; from an object store some ahead."""
        return in_order(self._read, places.tolist(), self.files, lambda place: place[2])

    def _read(self, place: list[int]) -> Sample:
        shard, offset, size = place
        name = shard_names(self.plan, shard)[0]
        try:
            return _sample(self.files.read(name, offset, size))
        except (ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile, FileNotFoundError) as error:
            why = " ".join(str(error).split())
            raise UserError(f"{self.out}/{name}: damaged ({why}); factory verify tells how much of it") from None


def _groups(rows: pa.Table) -> Iterator[str]:
    """For each row a name that all share that were made from one image: they must not lie on both sides of a split."""
    keys, count = rows["key"].to_pylist(), rows.num_rows
    sources = rows["source"].to_pylist() if "source" in rows.column_names else [""] * count
    variants = rows["variant"].to_pylist() if "variant" in rows.column_names else [0] * count
    for key, source, variant in zip(keys, sources, variants, strict=True):
        name, number = key[:-8], int(key[-8:])
        yield source or f"{name}{number - variant:08d}"


def _sample(segment: bytes) -> Sample:
    files = {name.partition(".")[2]: content for name, content in members(segment)}
    told = json.loads(files["json"])
    people = archive.arrays(files["smpl.npz"], ARRAYS)
    depth = archive.npy(files["depth.npy"]) if "depth.npy" in files else None
    return Sample(told["key"], files["jpg"], told["width"], told["height"], people, depth)

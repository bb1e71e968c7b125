"""The names of the objects in a data set, and which shards and parts a listing of them shows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from factory.plan import Plan

JOB = "job.json"  # the job and what it was made with, see job_json
REPORT, CONTACT = "report.html", "contact.png"  # of `factory inspect`
CARD, PREVIEW, SHARD_LIST = "README.md", "preview.jpg", "wids.json"  # written when all shards are sealed
PARTS_FOLDER = "parts/"
FOLDERS = re.compile(r"parts(/\d{6,})?")  # the folders that a data set makes below its own
PART_INDEX = re.compile(PARTS_FOLDER + r"(\d{6,})/(\d{6,})\.parquet")


@dataclass(frozen=True)
class Archive:
    """A tar of samples and its index: a sealed shard, or a unit that was committed as a part of one."""

    shard: int
    unit: int | None  # of a part; a sealed shard has none
    tar_name: str
    index_name: str

    @property
    def sealed(self) -> bool:
        return self.unit is None


def shard_archive(plan: Plan, shard: int) -> Archive:
    name = plan.shard_name(shard)
    return Archive(shard, None, f"{name}.tar", f"{name}.parquet")


def part_archive(shard: int, unit: int) -> Archive:
    name = f"{PARTS_FOLDER}{shard:06d}/{unit:06d}"
    return Archive(shard, unit, f"{name}.tar", f"{name}.parquet")


def list_done(plan: Plan, sizes: dict[str, int]) -> tuple[set[int], dict[int, set[int]]]:
    """(sealed shards, committed units by shard of the others) among the objects of a data set."""
    shard_index = re.compile(re.escape(plan.job.name) + r"-(\d{6,})\.parquet")
    sealed = {int(match[1]) for match in map(shard_index.fullmatch, sizes) if match and int(match[1]) < plan.shards}
    parts: dict[int, set[int]] = {}
    for match in filter(None, map(PART_INDEX.fullmatch, sizes)):
        shard, unit = int(match[1]), int(match[2])
        if shard not in sealed and shard < plan.shards and unit < plan.units_in(shard):
            parts.setdefault(shard, set()).add(unit)
    return sealed, parts

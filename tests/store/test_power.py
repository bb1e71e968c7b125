"""A power cut takes from the disk whatever was not synced. A kill takes nothing of that: see test_kill.py."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from factory.engine.run import run_job
from tests.support.files import folders, tree
from tests.support.seeded_stages import STAGES


class Disk:
    """Of every file and folder below `root` what its last fsync made durable. `cuts`: all of it after each fsync, and
    how many units the run had said by then were done."""

    def __init__(self, root: Path) -> None:
        self.root, self.units = root, 0
        self.files: dict[int, bytes] = {}  # by inode
        self.folders: dict[int, dict[str, int]] = {}
        self.open: list[int] = []  # so that no inode is given to another file
        self.cuts: list[tuple[dict[str, bytes], int]] = []

    def fsync(self, descriptor: int, real=os.fsync) -> None:
        real(descriptor)
        self.open.append(os.dup(descriptor))
        info = os.fstat(descriptor)
        if stat.S_ISDIR(info.st_mode):
            self.folders[info.st_ino] = {entry.name: entry.inode() for entry in os.scandir(descriptor)}
        else:
            self.files[info.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()
        if self.root.exists():
            self.cuts.append((self._tree(self.root.stat().st_ino, ""), self.units))

    def _tree(self, inode: int, prefix: str) -> dict[str, bytes]:
        found = {}
        for name, inner in self.folders.get(inode, {}).items():
            if inner in self.files:
                found[prefix + name] = self.files[inner]
            else:
                found |= self._tree(inner, f"{prefix}{name}/")
        return found


def test_after_a_power_cut_at_any_moment_what_was_finished_is_there(job, monkeypatch):
    job = job.model_copy(update={"records": 5, "unit_size": 2, "samples_per_shard": 4})
    out = Path(job.output)
    disk = Disk(out)

    def count(event) -> None:
        disk.units += event.units

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk.fsync)
        run_job(job, STAGES, count)
    for descriptor in disk.open:
        os.close(descriptor)
    whole = tree(out)
    assert disk.units == 3 and whole.keys() - {".lock"} < disk.cuts[-1][0].keys()
    for number, (left, promised) in enumerate(disk.cuts):
        shutil.rmtree(out)
        for name, data in left.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
        assert run_job(job, STAGES).units_found >= promised, number
        assert tree(out) == whole and not folders(out), number

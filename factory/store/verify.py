"""Whether a data set is what its job planned and its indexes say, byte by byte; from storage alone.

A run may go on at the same time. The index of a shard is written last and removed first, so a fault counts only if the
index is the same after the check as before it. What a run has sealed or taken back in between is checked again as it
lies now.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from factory.errors import encodable
from factory.plan import Plan
from factory.record import State
from factory.store import layout, lock
from factory.store.beside import CARD_BYTES, LIST_BYTES, card_state, decode_shard_list, shards_stamp
from factory.store.check_archive import Checked, Faults, check_archive, md5
from factory.store.dataset import DataSet, open_data
from factory.store.index import StoredIndex
from factory.store.layout import CARD, SHARD_LIST, Archive
from factory.store.mark import Holder
from factory.store.object_file import IN_MEMORY, open_object
from factory.store.read_ahead import in_order
from factory.store.reopen import drop_archive, reopen_shard

BESIDE_SHARDS = {layout.JOB, layout.REPORT, layout.CONTACT, CARD, layout.PREVIEW, SHARD_LIST}
LOOKS = 4  # at what changes while it is looked at


@dataclass
class Report:
    """The result of `verify`. Problems and notes are one line each."""

    shards: int = 0  # sealed
    samples: int = 0
    bytes: int = 0
    complete: bool = False  # every planned shard is sealed
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what is no fault: unfinished, or moving while a run is at work
    broken: dict[int, Faults] = field(default_factory=dict)  # sealed shard -> its damage
    broken_parts: list[Archive] = field(default_factory=list)  # of shards that are not sealed
    stale: list[str] = field(default_factory=list)  # objects that describe other shards than these
    strays: list[str] = field(default_factory=list)  # objects that do not belong there

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(out: str | os.PathLike[str]) -> Report:
    """Read every byte: compare shards and parts with their indexes, indexes with the plan, samples with their format,
    wids.json and an unedited card with the shards. UserError where there is no data set."""
    data = open_data(out)
    return _Verification(data, lock.holder(data.files)).report


def repair(out: str | os.PathLike[str], say: Callable[[str], None] = lambda text: None) -> Report:
    """Verify, and remove what is broken, so that the next run makes it anew. Of a shard the damaged units are removed;
    the others lie there as parts again. Strays are not ours and stay. UserError: no data set, or a run holds it."""
    data = open_data(out)
    with lock.hold(data.files, say) as lease:
        data.files.sweep(layout.FOLDERS)
        report = _Verification(data, None).report
        for shard, faults in report.broken.items():
            reopen_shard(data, shard, lease, range(data.plan.units_in(shard)) if faults.whole_file else faults.units)
        for archive in report.broken_parts:
            drop_archive(data, archive, lease)
        for name in report.stale:
            lease.check()
            data.files.delete([name])
    return report


class _Verification:
    """One pass over a data set. `live`: the run that is at work there, if any."""

    def __init__(self, data: DataSet, live: Holder | None) -> None:
        self.data, self.live, self.report = data, live, Report()
        self.checked: dict[Archive, Checked] = {}
        self.listed: dict[str, dict[str, Any]] = {}  # tar -> what wids.json has to say of it
        archives = data.archives()
        stored = in_order(self._read_both, archives, data.files, self._bytes_read)
        for archive, (index, content) in zip(archives, stored, strict=True):
            self._look(archive, index, content)
        self._sum()
        self._find_strays()
        self._note_unfinished()
        if not self.report.broken:
            self._compare_beside()

    def _look(self, archive: Archive, index: StoredIndex, content: IO[bytes] | None) -> None:
        """Check a shard or part, and again where it changes meanwhile."""
        sealed = self.data.shard(archive.shard)
        if sealed in self.checked:  # sealed since the listing, and checked as a shard
            return
        for _ in range(LOOKS):
            checked = check_archive(self.data, archive, index, content)
            if not checked.problems:
                self._keep(archive, checked, content)
                return
            before, content, index = index, self._open(archive), self.data.read_index(archive)
            if index.gone:
                break
            if index == before:
                checked = check_archive(self.data, archive, index, content)
                if checked.problems:
                    self._blame(archive, checked)
                else:
                    self._keep(archive, checked, content)
                return
        if not archive.sealed and not (shard_index := self.data.read_index(sealed)).gone:
            for part in [part for part in self.checked if part.shard == archive.shard]:
                del self.checked[part]
            self._look(sealed, shard_index, self._open(sealed))
        elif before.gone and not self._at_work():
            self._blame(archive, checked)
        else:
            self.report.notes.append(f"{archive.index_name}: changed or taken back while it was looked at")

    def _keep(self, archive: Archive, checked: Checked, content: IO[bytes] | None) -> None:
        self.checked[archive] = checked
        if archive.sealed and checked.bytes and content and SHARD_LIST in self.data.sizes:
            count = checked.states.get(State.OK, 0)
            entry = {"md5sum": md5(content), "nsamples": count, "filesize": checked.bytes}
            self.listed[archive.tar_name] = entry

    def _blame(self, archive: Archive, checked: Checked) -> None:
        if not archive.sealed and self._at_work():  # a run makes a damaged part anew: its tar first, then its index
            self.report.notes.append(f"{checked.problems[0]}; the run at work may be writing it: look again later")
            return
        self.checked[archive] = checked
        self.report.problems += checked.problems
        if archive.sealed:
            self.report.broken[archive.shard] = checked.faults
        else:
            self.report.broken_parts.append(archive)

    def _at_work(self) -> bool:
        return self.live is not None

    def _sum(self) -> None:
        self.report.shards = sum(archive.sealed for archive in self.checked)
        self.report.complete = self.report.shards == self.data.plan.shards
        self.report.samples = sum(checked.samples for checked in self.checked.values())
        self.report.bytes = sum(checked.bytes for checked in self.checked.values())

    def _find_strays(self) -> None:
        archives = self.data.archives()
        expected = BESIDE_SHARDS | {name for each in archives for name in (each.tar_name, each.index_name)}
        for name in sorted(self.data.sizes.keys() - expected):
            if not _of_an_open_shard(name, self.data.plan, self.data.sealed):  # the next run goes on from it
                self.report.problems.append(f"{encodable(name)}: does not belong here")
                self.report.strays.append(name)

    def _note_unfinished(self) -> None:
        if self.live:
            self.report.notes.append(f"{self.live} is at work here; what it makes from now on is not looked at")
        if self.report.complete:
            return
        units = Counter(archive.shard for archive in self.checked if not archive.sealed)
        sealing = sum(count == self.data.plan.units_in(shard) for shard, count in units.items())
        left = self.data.plan.shards - self.report.shards
        note = (
            f"{left:,} of {self.data.plan.shards:,} shards are not sealed; {units.total():,} of their units are there"
        )
        self.report.notes.append(note + f", {sealing:,} being sealed" * bool(sealing))

    def _compare_beside(self) -> None:
        """Whether wids.json and an unedited card describe these shards. Before a data set is complete they may be left
        from before a `retry`."""
        for name, what in self._outdated():
            if self.report.complete and not self._at_work():
                self.report.problems.append(f"{name}: {what}")
                self.report.stale.append(name)
            else:
                self.report.notes.append(f"{name}: {what}; the run that completes the data set writes it anew")

    def _outdated(self) -> Iterator[tuple[str, str]]:
        """(name, what is wrong) of the files beside the shards."""
        if SHARD_LIST in self.data.sizes:
            try:
                listed = decode_shard_list(self._read(SHARD_LIST, LIST_BYTES))[1]
            except ValueError as error:
                yield SHARD_LIST, f"unreadable ({error})"
            else:
                for name in sorted(listed.keys() | self.listed.keys()):
                    there, true = listed.get(name), self.listed.get(name)
                    if there is None or true is None or any(there.get(field) != true[field] for field in true):
                        what = f"tells another size, md5 or number of samples of {encodable(name)}, or nothing"
                        yield SHARD_LIST, what
                        break
        if CARD in self.data.sizes:
            card = card_state(self._read(CARD, CARD_BYTES))
            hashes = {archive.shard: each.own_hash for archive, each in self.checked.items() if archive.sealed}
            if not card.edited and card.stamp != shards_stamp(hashes, self.data.fingerprint):
                yield CARD, "tells of the shards as they were before"

    def _read_both(self, archive: Archive) -> tuple[StoredIndex, IO[bytes] | None]:
        """The index, and then the tar that it describes."""
        return self.data.read_index(archive), self._open(archive)

    def _bytes_read(self, archive: Archive) -> int:
        return sum(min(self.data.sizes.get(name, 0), IN_MEMORY) for name in (archive.tar_name, archive.index_name))

    def _open(self, archive: Archive) -> IO[bytes] | None:
        return open_object(self.data.files, archive.tar_name, self.data.sizes.get(archive.tar_name, 0))

    def _read(self, name: str, most: int) -> bytes:
        """The object, and one byte more than `most` of a longer one; nothing where it is gone."""
        try:
            return self.data.files.read(name, 0, most + 1)
        except FileNotFoundError:
            return b""


def _of_an_open_shard(name: str, planned: Plan, sealed: set[int]) -> bool:
    match = re.fullmatch(re.escape(planned.job.name) + r"-(\d{6,})[.]tar", name)
    return name.startswith(layout.PARTS_FOLDER) or bool(
        match and int(match[1]) < planned.shards and int(match[1]) not in sealed
    )

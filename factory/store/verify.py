"""Whether a data set is what its job planned and its indexes say, byte by byte; from storage alone.

A run may go on beside it. A shard's mark, its index, comes last and goes first, so a fault is one only if the index is
the same after the look as before; what a run has sealed or taken back in between is looked at again as it lies now.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from factory.errors import encodable
from factory.plan import Plan
from factory.record import State
from factory.store import layout, lock
from factory.store.beside import CARD, PREVIEW, SHARDS, listed_shards, signature, stamp
from factory.store.check import Checked, check, md5
from factory.store.dataset import DataSet, Place, in_order, open_data, read_index
from factory.store.part import Head
from factory.store.reopen import drop, reopen
from factory.store.stored import WHOLE, open_stored

BESIDE = {layout.JOB, layout.REPORT, layout.CONTACT, CARD, PREVIEW, SHARDS}  # what else belongs there
LOOKS = 4  # at what changes while it is looked at


@dataclass
class Report:
    shards: int = 0  # sealed
    samples: int = 0
    bytes: int = 0
    complete: bool = False  # every planned shard is sealed
    problems: list[str] = field(default_factory=list)  # one line each
    notes: list[str] = field(default_factory=list)  # what is no fault: unfinished, or moving while a run is at work
    broken: dict[int, set[int] | None] = field(default_factory=dict)  # shard -> its units at fault, None: all
    broken_parts: list[tuple[int, int]] = field(default_factory=list)  # (shard, unit) of those not yet in a shard
    stale: list[str] = field(default_factory=list)  # objects that tell of other shards than these
    strays: list[str] = field(default_factory=list)  # objects that do not belong there

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(out: str | os.PathLike[str]) -> Report:
    """Reads every byte: shards and parts against their indexes, indexes against the plan, samples against their
    format, wids.json and an unedited card against the shards. UserError where there is no data set."""
    data = open_data(out)
    return _Verification(data, lock.holder(data.files)).report


def repair(out: str | os.PathLike[str], say: Callable[[str], None] = lambda text: None) -> Report:
    """Verify, and take away what is broken, so that the next run makes it anew: of a shard the units at fault, the
    others lie there as parts again. Strays are somebody's and stay. UserError: no data set, or a run holds it."""
    data = open_data(out)
    with lock.hold(data.files, say) as lease:
        data.files.sweep(layout.FOLDERS)
        report = _Verification(data, None).report
        for shard, units in report.broken.items():
            reopen(data, shard, lease, range(data.plan.units_in(shard)) if units is None else units)
        for part in report.broken_parts:
            drop(data, part, lease)
        for name in report.stale:
            lease.check()
            data.files.delete([name])
    return report


class _Verification:
    """One pass over a data set. `live`: the run that is at work there, if any."""

    def __init__(self, data: DataSet, live: lock.Holder | None) -> None:
        self.data, self.live, self.report = data, live, Report()
        self.checked: dict[Place, Checked] = {}
        self.listed: dict[str, dict] = {}  # tar -> what wids.json has to say of it
        places = data.places()
        for place, (index, content) in zip(places, in_order(self._both, places, data.files, self._size), strict=True):
            self._look(place, index, content)
        self._sum()
        self._strays()
        self._unfinished()
        if not self.report.broken:
            self._beside()

    def _look(self, place: Place, index: bytes | None, content: IO[bytes] | None) -> None:
        shard, unit = place
        if (shard, None) in self.checked:  # sealed since the listing, and looked at as a shard
            return
        tar_name, index_name = self.data.names(place)
        for _ in range(LOOKS):
            found = check(self.data, place, index, content)
            if not found.problems:
                self._keep(place, found, content)
                return
            before, content, index = index, self._open(tar_name), self._read(index_name)
            if index is None:
                break
            if index == before and not (again := check(self.data, place, index, content)).problems:
                self._keep(place, again, content)
                return
            if index == before:
                self._fault(place, again)
                return
        if unit is not None and (whole := self._read(self.data.names((shard, None))[1])) is not None:
            for part in [part for part in self.checked if part[0] == shard]:
                del self.checked[part]
            self._look((shard, None), whole, self._open(self.data.names((shard, None))[0]))
        elif before is None and not self._at_work():
            self._fault(place, found)
        else:
            self.report.notes.append(f"{index_name}: changed or taken back while it was looked at")

    def _keep(self, place: Place, found: Checked, content: IO[bytes] | None) -> None:
        self.checked[place] = found
        if place[1] is None and found.bytes and content and found.head and SHARDS in self.data.sizes:
            count = found.head.states.get(State.OK, 0)
            told = {"md5sum": md5(content), "nsamples": count, "filesize": found.bytes}
            self.listed[self.data.names(place)[0]] = told

    def _fault(self, place: Place, found: Checked) -> None:
        shard, unit = place
        if unit is not None and self._at_work():  # a run makes a damaged part anew: its tar first, then its index
            self.report.notes.append(f"{found.problems[0]}; the run at work may be writing it: look again later")
            return
        self.checked[place] = found
        self.report.problems += found.problems
        if unit is None:
            self.report.broken[shard] = None if found.whole else found.units
        else:
            self.report.broken_parts.append((shard, unit))

    def _at_work(self) -> bool:
        return self.live is not None

    def _sum(self) -> None:
        sealed = {shard for shard, unit in self.checked if unit is None}
        self.report.shards, self.report.complete = len(sealed), len(sealed) == self.data.plan.shards
        self.report.samples = sum(found.samples for found in self.checked.values())
        self.report.bytes = sum(found.bytes for found in self.checked.values())

    def _strays(self) -> None:
        expected = {name for place in self.data.places() for name in self.data.names(place)} | BESIDE
        for name in sorted(self.data.sizes.keys() - expected):
            if not _of_an_open_shard(name, self.data.plan, self.data.sealed):  # the next run goes on from it
                self.report.problems.append(f"{encodable(name)}: does not belong here")
                self.report.strays.append(name)

    def _unfinished(self) -> None:
        if self.live:
            self.report.notes.append(f"{self.live} is at work here; what it makes from now on is not looked at")
        if self.report.complete:
            return
        units = Counter(shard for shard, unit in self.checked if unit is not None)
        sealing = sum(count == self.data.plan.units_in(shard) for shard, count in units.items())
        left = self.data.plan.shards - self.report.shards
        note = (
            f"{left:,} of {self.data.plan.shards:,} shards are not sealed; {units.total():,} of their units are there"
        )
        self.report.notes.append(note + f", {sealing:,} being sealed" * bool(sealing))

    def _beside(self) -> None:
        """Whether wids.json and an unedited card tell of these shards. Before a data set is complete they may be of the
        time before a `retry`."""
        heads = {shard: found.head for (shard, unit), found in self.checked.items() if unit is None and found.head}
        for name, what in self._outdated(heads):
            if self.report.complete and not self._at_work():
                self.report.problems.append(f"{name}: {what}")
                self.report.stale.append(name)
            else:
                self.report.notes.append(f"{name}: {what}; the run that completes the data set writes it anew")

    def _outdated(self, heads: dict[int, Head]) -> Iterator[tuple[str, str]]:
        if SHARDS in self.data.sizes:
            try:
                listed = listed_shards(self._read(SHARDS) or b"")[1]
            except ValueError as error:
                yield SHARDS, f"unreadable ({error})"
            else:
                for name in sorted(listed.keys() | self.listed.keys()):
                    there, true = listed.get(name), self.listed.get(name)
                    if there is None or true is None or any(there.get(field) != true[field] for field in true):
                        yield SHARDS, f"tells another size, md5 or number of samples of {encodable(name)}, or nothing"
                        break
        if CARD in self.data.sizes:
            made_from = signature(self._read(CARD) or b"")
            if made_from and made_from != stamp(heads, self.data.fingerprint):
                yield CARD, "tells of the shards as they were before"

    def _both(self, place: Place) -> tuple[bytes | None, IO[bytes] | None]:
        """The index, before the tar that it tells of."""
        tar_name, index_name = self.data.names(place)
        return self._read(index_name), self._open(tar_name)

    def _size(self, place: Place) -> int:
        return sum(min(self.data.sizes.get(name, 0), WHOLE) for name in self.data.names(place))

    def _open(self, name: str) -> IO[bytes] | None:
        return open_stored(self.data.files, name, self.data.sizes.get(name, 0))

    def _read(self, name: str) -> bytes | None:
        return read_index(self.data.files, name, self.data.sizes)


def _of_an_open_shard(name: str, planned: Plan, sealed: set[int]) -> bool:
    match = re.fullmatch(re.escape(planned.job.name) + r"-(\d{6,})[.]tar", name)
    return name.startswith(layout.PARTS) or bool(
        match and int(match[1]) < planned.shards and int(match[1]) not in sealed
    )

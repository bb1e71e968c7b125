"""One export, from the sealed shards of a data set to a folder that a trainer reads.

    TO/export.json      what it is made of, first; and what it holds, once it is whole
    TO/parts/           while it is made: a mark for each finished step
    TO/...              what the format asks for, and README.md

Every file appears whole or not at all, and a step's mark comes after its files. So an export that was killed goes on
where it stopped, and ends with the same bytes, whatever the number of workers. export.json holds a hash of every index
that was read: where one is another now, an unfinished export begins anew, and a finished one is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.export import formats, split
from factory.export.base import PIECE, STEP, Format
from factory.export.source import ExportSource
from factory.present.words import size
from factory.store import lock
from factory.store.dataset import open_data
from factory.store.disk import expanded, free_space
from factory.store.job_json import job_identity
from factory.untrusted import text

EXPORT_MARK, README = "export.json", "README.md"
EXPORT_MARK_BYTES, STEP_MARK_BYTES = 1 << 26, 1 << 10  # of EXPORT_MARK and of the mark of a step, at most
LAYOUT = 2  # of what an export holds: raise it whenever its bytes change, for two versions must not write one export
Step = tuple[str, int, int, np.ndarray]  # split, piece, number, locations (N, 4)


@dataclass(frozen=True)
class ExportSummary:
    images: dict[str, int]  # by split
    people: dict[str, int]
    shards: int  # that were read
    unsealed: int  # shards of the plan that were not there yet
    done: bool  # whether there was anything to do


def export(
    out: str, to: str, name: str, shares: str = split.WHOLE, where: str | None = None, workers: int = 1,
    on_piece: Callable[[int, int], None] = lambda done, total: None,
) -> ExportSummary:  # fmt: skip
    """Write the data set in `out` to the folder `to`, or what is missing of it there.

    on_piece(done, total) tells how many of the images are written, first of all those of an earlier, killed export.
    UserError, before anything is touched, where that cannot be.
    """
    kind, source, target = formats.find(name), ExportSource(open_data(out)), Path(expanded(to, "--to"))
    fractions = split.parse(shares)
    wanted: dict[str, Any] = {
        "format": name, "data": source.job.name, "job": _digest(source), "split": fractions, "where": where,
        "layout": LAYOUT,
    }  # fmt: skip
    there = _begun(target, source, wanted)
    if there:
        source.shards = _shards(source, there, target)
    locations = source.choose(fractions, where)
    stale = there is not None and there["indexes"] != _indexes(source)
    if there and stale:
        if "images" in there:
            raise UserError(
                f"--to {target}: is the whole export of an older state of {out}, of which {_differing(source, there)}"
                " changed since; it stays as it is: write the new one elsewhere"
            )
        source = ExportSource(source.data.listed_anew())
        locations = source.choose(fractions, where)
    unsealed = source.plan.shards - len(source.shards)
    form = kind(source, target)
    if there and "images" in there:
        _drop_parts(form, locations)  # where it was killed at the very end
        return ExportSummary(there["images"], there["people"], len(source.shards), unsealed, done=False)
    if not there:
        _check_room(target, sum(int(members[:, 2].sum()) for members in locations.values()))
    form.check()
    wanted["indexes"] = _indexes(source)
    files = form.files
    with lock.hold(files):
        files.sweep(form.folders())
        if stale:
            form.clear()
        if stale or not there:
            files.put(EXPORT_MARK, [_json(wanted)])
        images = {part: len(members) for part, members in locations.items()}
        people = _steps(form, locations, workers, on_piece)
        for part, members in locations.items():
            if not people[part]:
                raise UserError(f"split {part}: none of its {len(members):,} images shows a person; export others")
        if changed := source.changed():
            raise UserError(
                f"{out}: {source.plan.shard_name(changed[0])} was made anew while it was exported; run the same export"
                " again"
            )
        for part, members in locations.items():
            form.finish(part, _count(members))
        guide = form.guide({part: (images[part], people[part]) for part in locations})
        files.put(README, [_readme(form, wanted, images, people, unsealed, guide).encode()])
        files.put(EXPORT_MARK, [_json({**wanted, "images": images, "people": people})])
        _drop_parts(form, locations)
    return ExportSummary(images, people, len(source.shards), unsealed, done=True)


def _steps(
    form: Format, locations: dict[str, np.ndarray], workers: int, on_piece: Callable[[int, int], None]
) -> dict[str, int]:
    """Write the steps that are missing, and join those of each piece; split -> people in it."""
    people: Counter[str] = Counter()
    left, done, total = [], 0, sum(map(len, locations.values()))
    for part, members in locations.items():
        for i in range(_count(members)):
            step = part, i * STEP // PIECE, i, members[i * STEP : (i + 1) * STEP]
            try:
                counted = text.loads(form.files.read(_mark(form, part, i), 0, STEP_MARK_BYTES + 1), STEP_MARK_BYTES)
                people[part] += int(counted["people"])
                done += len(step[3])
            except (FileNotFoundError, ValueError, KeyError, TypeError):  # not made, or not whole
                left.append(step)
    on_piece(done, total)
    pieces, missing = deque(_pieces(locations)), {(part, number) for part, _, number, _ in left}

    def join() -> None:
        while pieces and not any((pieces[0][0], number) in missing for number in pieces[0][2]):
            form.join(*pieces.popleft())

    join()
    for (part, _, number, members), count in _compute(form, left, workers):
        form.files.put(_mark(form, part, number), [_json({"people": count})])
        missing.remove((part, number))
        people[part] += count
        done += len(members)
        join()
        on_piece(done, total)
    return {part: people[part] for part in locations}


def _pieces(locations: dict[str, np.ndarray]) -> Iterator[tuple[str, int, range]]:
    """(split, number, its steps) of each piece, in order."""
    each = PIECE // STEP
    for part, members in locations.items():
        for number, first in enumerate(range(0, _count(members), each)):
            yield part, number, range(first, min(first + each, _count(members)))


def _compute(form: Format, steps: list[Step], workers: int) -> Iterator[tuple[Step, int]]:
    """(step, people in it), in order."""
    if workers <= 1 or len(steps) <= 1:
        for step in steps:
            yield step, _write(form, step)
        return
    with ExitStack() as stack:
        # Processes that are begun anew: a fork would inherit the threads and locks of Arrow and PyTorch.
        pool = ProcessPoolExecutor(min(workers, len(steps)), get_context("spawn"), _end_with_parent)
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting: deque[tuple[Step, Future[int]]] = deque()
        try:
            for step in steps:
                arguments = form.name, form.source.address, str(form.target), step
                waiting.append((step, pool.submit(_write_there, *arguments)))
                if len(waiting) > 2 * workers:  # no more than that wait in memory
                    step, future = waiting.popleft()
                    yield step, future.result()
            for step, future in waiting:
                yield step, future.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker died, perhaps for want of memory; what is written is kept: run it again, with fewer --workers"
            ) from None


def _end_with_parent() -> None:
    """End this process as soon as the one that began it is gone, however that ended: two exports must not write to one
    place, and a worker without its export only burns the machine."""

    def watch() -> None:
        parent_process().join()  # type: ignore[union-attr]
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _write(form: Format, step: Step) -> int:
    part, piece, number, locations = step
    return form.step(part, piece, number, form.source.read(locations))


def _write_there(name: str, out: str, to: str, step: Step) -> int:
    """In a worker's process."""
    return _write(_opened(name, out, to), step)


@lru_cache
def _opened(name: str, out: str, to: str) -> Format:
    return formats.find(name)(ExportSource(open_data(out)), Path(to))


def _count(locations: np.ndarray) -> int:
    """Steps of a split."""
    return -(-len(locations) // STEP)


def _mark(form: Format, part: str, number: int) -> str:
    return form.part(part, number, "json")


def _drop_parts(form: Format, locations: dict[str, np.ndarray]) -> None:
    endings = ("json", "npz", "tar")
    steps = ((part, i) for part, members in locations.items() for i in range(_count(members)))
    form.files.delete([form.part(*step, ending) for step in steps for ending in endings])


def _indexes(source: ExportSource) -> dict[str, str]:
    """Name of a shard -> hash of its index."""
    return {source.plan.shard_name(shard): digest for shard, digest in source.digests.items()}


def _shards(source: ExportSource, there: dict[str, Any], target: Path) -> list[int]:
    """The shards that the export was begun with. UserError where the data set no longer has them."""
    names = {source.plan.shard_name(shard): shard for shard in source.shards}
    if gone := sorted(set(there["indexes"]) - set(names)):
        raise UserError(
            f"--to {target}: was made from shards that are not sealed in {source.address} now, such as {gone[0]}; let"
            " factory run finish them, or write elsewhere"
        )
    return sorted(names[name] for name in there["indexes"])


def _differing(source: ExportSource, there: dict[str, Any]) -> str:
    names = [name for name, digest in _indexes(source).items() if there["indexes"][name] != digest]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more shards"


def _begun(target: Path, source: ExportSource, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """What an export that was begun there is made of; None where there is nothing. UserError where something else is.

    A data set that has grown since makes no other export: the one that was begun is finished as it was."""
    inside, data = target.resolve(), Path(source.address).resolve()
    if inside == data or data in inside.parents:
        raise UserError(f"--to {target}: lies inside the data set; write beside it")
    try:
        names = {path.name for path in target.iterdir() if not path.name.startswith(".")}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"--to {target}: cannot be used ({error.strerror}); write elsewhere") from None
    if not names:
        return None
    if EXPORT_MARK not in names:
        raise UserError(f"--to {target}: holds files but no export (such as {min(names)}); write elsewhere")
    try:
        there = text.loads(text.read_text(target / EXPORT_MARK, EXPORT_MARK_BYTES), EXPORT_MARK_BYTES)
        differ = [name for name in wanted if there[name] != wanted[name]]
        sound = bool(there["indexes"]) and all(isinstance(digest, str) for digest in there["indexes"].values())
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        sound = False
    if not sound or "layout" in differ:
        raise UserError(
            f"--to {target}: its {EXPORT_MARK} is not one that this version can go on with; write elsewhere, or use the"
            " version that began it"
        )
    if differ:
        fields = "; ".join(f"{name}: {there[name]} there, {wanted[name]} here" for name in differ)
        raise UserError(f"--to {target}: holds another export ({fields}); write elsewhere")
    return there


def _check_room(target: Path, need: int) -> None:
    free = free_space(target)[1]
    if need > free:
        raise UserError(f"--to {target}: needs about {size(need)}, {size(free)} are free; write elsewhere")


def _digest(source: ExportSource) -> str:
    """What makes two jobs the same data set."""
    return hashlib.sha256(json.dumps(job_identity(source.job), sort_keys=True).encode()).hexdigest()


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _readme(
    form: Format, wanted: dict[str, Any], images: dict[str, int], people: dict[str, int], unsealed: int, guide: str
) -> str:
    job = form.source.job
    rows = "\n".join(f"| {part} | {images[part]:,} | {people[part]:,} |" for part in images)
    chosen = f", those where `{wanted['where']}`" if wanted["where"] else ""
    partly = (
        f" The data set was not finished: {unsealed:,} of its {form.source.plan.shards:,} shards are not in here."
        * bool(unsealed)
    )
    return f"""# {job.name} for {form.trainer}

| split | images | people |
|---|---|---|
{rows}

Samples of `{job.name}` in random order{chosen}; all people of an image are in one split.{partly}
Pose and betas belong to the body model `{job.body.name}`: train with that one.
Check this folder: `factory validate {form.target.name} --format {form.name}`.

## Training

{guide}"""

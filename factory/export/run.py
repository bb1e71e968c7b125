"""One export, from the sealed shards of a data set to a folder that a trainer reads.

    TO/export.json      what it is made of, first; and what it holds, once it is whole
    TO/parts/           while it is made: a mark for each finished piece
    TO/...              what the format asks for, and README.md

Every file appears whole or not at all, and a piece's mark comes after its files. So an export that was killed goes on
where it stopped, and ends with the same bytes, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from factory.errors import UserError
from factory.export import formats, split
from factory.export.base import PARTS, PIECE, Format
from factory.export.source import Source
from factory.present.words import size
from factory.store import layout, lock
from factory.store.disk import expanded
from factory.store.fs import LocalFiles

MARK, README = "export.json", "README.md"
Piece = tuple[str, int, np.ndarray]  # split, number, places (N, 3)


@dataclass(frozen=True)
class Summary:
    images: dict[str, int]  # by split
    people: dict[str, int]
    shards: int  # that were read
    unsealed: int  # shards of the plan that were not there yet
    done: bool  # whether there was anything to do


def export(
    out: str, to: str, name: str, shares: str = split.WHOLE, where: str | None = None, workers: int = 1,
    on_piece: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:  # fmt: skip
    """Write the data set in `out` to the folder `to`, or what is missing of it there.

    on_piece(done, total) tells how many of the images are written, first of all those of an earlier, killed export.
    UserError, before anything is touched, where that cannot be.
    """
    kind, source, target = formats.find(name), Source(out), Path(expanded(to, "--to"))
    fractions = split.parse(shares)
    wanted = {
        "format": name, "data": source.job.name, "job": _digest(source), "split": fractions, "where": where,
        "shards": source.shards,
    }  # fmt: skip
    there = _begun(target, Path(out), wanted)
    source.shards = there["shards"] if there else source.shards
    wanted["shards"] = source.shards
    unsealed = source.plan.shards - len(source.shards)
    if there and "images" in there:
        shutil.rmtree(target / PARTS, ignore_errors=True)  # where it was killed at the very end
        return Summary(there["images"], there["people"], len(source.shards), unsealed, done=False)
    places = source.choose(fractions, where)
    if not there:
        _check_room(target, sum(int(some[:, 2].sum()) for some in places.values()))
    form = kind(source, target)
    form.check()
    files = LocalFiles(target)
    with lock.hold(files):
        files.sweep(re.compile(rf"parts(/[^/]+)?|{re.escape(form.dataset)}-[^/]+"))
        if not there:
            files.put(MARK, [_json(wanted)])
        images = {part: len(some) for part, some in places.items()}
        people = _pieces(form, places, workers, on_piece)
        for part, some in places.items():
            form.finish(part, -(-len(some) // PIECE))
        guide = form.guide({part: (images[part], people[part]) for part in places})
        files.put(README, [_readme(form, wanted, images, people, unsealed, guide).encode()])
        files.put(MARK, [_json({**wanted, "images": images, "people": people})])
        shutil.rmtree(target / PARTS, ignore_errors=True)
    return Summary(images, people, len(source.shards), unsealed, done=True)


def _pieces(
    form: Format, places: dict[str, np.ndarray], workers: int, on_piece: Callable[[int, int], None]
) -> dict[str, int]:
    """Write the pieces that are missing; split -> people in it."""
    pieces = [
        (part, i, some[start : start + PIECE])
        for part, some in places.items()
        for i, start in enumerate(range(0, len(some), PIECE))
    ]
    people: Counter[str] = Counter()
    left, done, total = [], 0, sum(map(len, places.values()))
    for piece in pieces:
        try:
            people[piece[0]] += json.loads(form.files.read(_mark(piece)))["people"]
            done += len(piece[2])
        except FileNotFoundError:
            left.append(piece)
    on_piece(done, total)
    for piece, count in _compute(form, left, workers):
        form.files.put(_mark(piece), [_json({"people": count})])
        people[piece[0]] += count
        done += len(piece[2])
        on_piece(done, total)
    return dict(people)


def _compute(form: Format, pieces: list[Piece], workers: int) -> Iterator[tuple[Piece, int]]:
    if workers <= 1 or len(pieces) <= 1:
        for piece in pieces:
            yield piece, _write(form, piece)
        return
    with ExitStack() as stack:
        # Processes that are begun anew: a fork would inherit the threads and locks of Arrow and PyTorch.
        pool = ProcessPoolExecutor(min(workers, len(pieces)), get_context("spawn"))
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting: deque[tuple[Piece, Future[int]]] = deque()
        try:
            for piece in pieces:
                arguments = form.name, form.source.out, str(form.target), piece
                waiting.append((piece, pool.submit(_write_there, *arguments)))
                if len(waiting) > 2 * workers:  # no more than that wait in memory
                    piece, future = waiting.popleft()
                    yield piece, future.result()
            for piece, future in waiting:
                yield piece, future.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker died, perhaps for want of memory; what is written is kept: run it again, with fewer --workers"
            ) from None


def _write(form: Format, piece: Piece) -> int:
    part, number, places = piece
    return form.piece(part, number, form.source.read(places))


def _write_there(name: str, out: str, to: str, piece: Piece) -> int:
    """In a worker's process."""
    return _write(_opened(name, out, to), piece)


@lru_cache
def _opened(name: str, out: str, to: str) -> Format:
    return formats.find(name)(Source(out), Path(to))


def _mark(piece: Piece) -> str:
    return f"{PARTS}{piece[0]}/{piece[1]:06d}.json"


def _begun(target: Path, out: Path, wanted: dict) -> dict | None:
    """What an export that was begun there is made of; None where there is nothing. UserError where something else is.

    A data set that has grown since makes no other export: the one that was begun is finished as it was."""
    inside, data = target.resolve(), out.resolve()
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
    if MARK not in names:
        raise UserError(f"--to {target}: holds files but no export (such as {min(names)}); write elsewhere")
    try:
        there = json.loads((target / MARK).read_bytes())
        differ = [name for name in wanted if name != "shards" and there[name] != wanted[name]]
        gone = set(there["shards"]) - set(wanted["shards"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"--to {target}: its {MARK} is not one this version can read; write elsewhere") from None
    if differ:
        fields = "; ".join(f"{name}: {there[name]} there, {wanted[name]} here" for name in differ)
        raise UserError(f"--to {target}: holds another export ({fields}); write elsewhere")
    if gone:
        raise UserError(f"--to {target}: was made from shards that {out} no longer has, such as {min(gone)}")
    return there


def _check_room(target: Path, need: int) -> None:
    there = next(path for path in (target.absolute(), *target.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if need > free:
        raise UserError(f"--to {target}: needs about {size(need)}, {size(free)} are free; write elsewhere")


def _digest(source: Source) -> str:
    """What makes two jobs the same data set."""
    return hashlib.sha256(json.dumps(layout.identity(source.job), sort_keys=True).encode()).hexdigest()


def _json(value: dict) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _readme(
    form: Format, wanted: dict, images: dict[str, int], people: dict[str, int], unsealed: int, guide: str
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

"""The user study of a data set: which raters see which pairs in what order, and the files that are written for it.

A pair is the initial and the final image of one record. All raters see the same pairs, each in an order and with sides
of their own. Some pairs come a second time with their sides exchanged: whether the answer is the same then tells how
consistent a rater is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from factory.errors import UserError
from factory.evaluate.study_files import KEY, MOST_PAIRS, MOST_RATERS, StudyKey, Trial, Which, read_key
from factory.evaluate.study_page import page
from factory.present import pictures
from factory.present.samples import damage, stored
from factory.store.dataset import DataSet, open_data
from factory.store.decode import decode_image
from factory.store.disk import expanded
from factory.store.fs import LocalFiles

SIDE = 768  # px at most, of an image in a page
QUALITY = 92  # of its WebP
ONE_IN = 20  # pairs comes again, where no number is given
Seen = Callable[[str, int, int], None]  # name of the data set, pairs done, pairs in all
Pair = dict[str, str]  # "initial", "final" -> the image as a data URI


@dataclass(frozen=True)
class WrittenStudy:
    """folder: where its files lie. pages: their names, one for each rater. trials: pairs on a page, `repeats` of them
    for the second time. page_bytes: of the largest page. notes: what the user should know."""

    folder: Path
    pages: list[str]
    trials: int
    repeats: int
    page_bytes: int
    notes: list[str]


def write_study(
    out: str, pairs: int, raters: int, to: str | None = None, seed: int = 0, repeats: int | None = None,
    seen: Seen | None = None,
) -> WrittenStudy:  # fmt: skip
    """Write a page for each rater and study.json into the folder `to` (default: study-NAME here).

    The same arguments write the same bytes. UserError: the data set has too few pairs or no initial images, or `to`
    holds another study.
    """
    if not (1 <= pairs <= MOST_PAIRS and 1 <= raters <= MOST_RATERS):
        raise UserError(f"--pairs is 1 to {MOST_PAIRS:,} and --raters 1 to {MOST_RATERS:,}")
    repeats = pairs // ONE_IN if repeats is None else repeats
    if not 0 <= repeats <= pairs // 3:
        raise UserError(f"--repeats {repeats}: 0 to {pairs // 3} of {pairs} pairs, a third, can be shown again")
    data = open_data(out)
    rows, notes = _pairs(data, pairs, seed)
    if to is not None and "://" in to:
        raise UserError(f"--to {to}: pages are written to a local folder; copy them from there")
    folder = Path(expanded(to, "--to")) if to is not None else Path(f"study-{data.job.name}")
    digest, images = _images(data, rows, seen)
    plan = [draw_trials([row["key"] for row in rows], repeats, seed, rater) for rater in range(1, raters + 1)]
    digest.update(json.dumps([[vars(trial) for trial in trials] for trials in plan]).encode())
    key = StudyKey(study=digest.hexdigest(), data=out, seed=seed, raters=plan)
    names = [f"rater-{rater}.html" for rater in range(1, raters + 1)]
    files = LocalFiles(folder, "--to")
    _refuse_another(folder, files, key, names)
    files.put(KEY, [key.model_dump_json(indent=1).encode()])  # first: it says whose the pages are
    page_bytes = 0
    for rater, (name, trials) in enumerate(zip(names, plan, strict=True), 1):
        parts = [part.encode() for part in page(key.study, rater, [_sides(images, trial) for trial in trials])]
        page_bytes = max(page_bytes, sum(map(len, parts)))
        files.put(name, parts)
    return WrittenStudy(folder, names, len(plan[0]), repeats, page_bytes, notes)


def draw_trials(keys: list[str], repeats: int, seed: int, rater: int) -> list[Trial]:
    """What one rater sees, in order: every pair once, `repeats` of the first third again in the last third.

    The final image comes first in half of the pairs, so that a preference for one side favours neither image. Of an odd
    number the last one is drawn.
    """
    rng = Random(f"{seed} {rater}")
    order, count = rng.sample(keys, len(keys)), len(keys)
    final_first = (count + rng.randrange(2)) // 2
    halves: tuple[Which, Which] = ("final", "initial")
    sides = rng.sample(halves, count, counts=(final_first, count - final_first))
    trials = [Trial(pair=key, first=side) for key, side in zip(order, sides, strict=True)]
    for trial in rng.sample(trials[: count // 3], repeats):
        again = Trial(pair=trial.pair, first="initial" if trial.first == "final" else "final", repeat=True)
        trials.insert(rng.randint(count - count // 3, len(trials)), again)
    return trials


def _pairs(data: DataSet, count: int, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """(the index rows of `count` pairs, drawn at random and sorted by key; notes)."""
    out = data.address
    if "initial" not in data.job.sample.extras:
        raise UserError(
            f"{out} holds no initial images, so there is nothing to compare; a job keeps them with "
            "sample.extras: [initial]"
        )
    ok = [row for row in data.rows.to_pylist() if row["size"]]
    redrawn = sorted((row for row in ok if row["refined"]), key=lambda row: row["key"])
    kept = f"{len(ok) - len(redrawn):,} records were kept as generated and make no pair"
    if len(redrawn) < count:
        words = f"; {kept}" if len(redrawn) < len(ok) else ""
        mend = f"give --pairs {len(redrawn)}" if redrawn else f"why: factory status {out}"
        raise UserError(f"{out}: {len(redrawn):,} pairs, fewer than --pairs {count:,}{words}; {mend}")
    rows = sorted(Random(f"{seed} pairs").sample(redrawn, count), key=lambda row: row["key"])
    return rows, [kept] if len(redrawn) < len(ok) else []


def _images(data: DataSet, rows: list[dict[str, Any]], seen: Seen | None) -> tuple[Any, dict[str, Pair]]:
    """(digest of the stored images, the pairs by key). Both images of a pair are encoded anew in the same way, so that
    no trace of how they were stored tells them apart."""
    digest, pairs = hashlib.blake2b(digest_size=6), dict[str, Pair]()
    if seen is not None:
        seen(data.address, 0, len(rows))
    for row, files in stored(data, rows):
        pair: Pair = {}
        with damage(data, row["key"]):
            for which, name in (("initial", "initial.jpg"), ("final", "jpg")):
                image = pictures.fit(decode_image(files[name], data.job), SIDE)
                pair[which] = pictures.data_uri(image, quality=QUALITY)
                digest.update(hashlib.blake2b(files[name]).digest())
        pairs[row["key"]] = pair
        if seen is not None:
            seen(data.address, len(pairs), len(rows))
    return digest, pairs


def _sides(images: dict[str, Pair], trial: Trial) -> tuple[str, str]:
    """The images of a trial, as the page shows them: (first, second)."""
    pair = images[trial.pair]
    return (pair["final"], pair["initial"]) if trial.first == "final" else (pair["initial"], pair["final"])


def _refuse_another(folder: Path, files: LocalFiles, key: StudyKey, names: list[str]) -> None:
    """UserError where the folder holds another study, or files with the names of ours that belong to none."""
    if _lies(files, KEY):
        if read_key(folder).study != key.study:
            raise UserError(f"--to {folder}: another study lies there, of other pairs or seed; name another place")
    elif foreign := [name for name in names if _lies(files, name)]:
        raise UserError(f"--to {folder}: {foreign[0]} is there and belongs to no study; name another place")


def _lies(files: LocalFiles, name: str) -> bool:
    try:
        files.read(name, 0, 1)
        return True
    except FileNotFoundError:
        return False

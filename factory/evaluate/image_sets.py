"""The images that are compared: the samples of a data set, initial and final, or real ones from a folder, a list, tars,
SMART or Ski-Pose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from factory.errors import UserError
from factory.home import at_home
from factory.job_stages import DetectorSpec
from factory.present.samples import damage, spread, stored
from factory.sources import images
from factory.sources.item import Tally
from factory.sources.picture import UNREADABLE, whole, why_unread
from factory.store.dataset import open_data
from factory.store.decode import decode_image
from factory.store.layout import JOB

FINAL, INITIAL, REAL = "final", "initial", "real"


class ImageSet(Protocol):
    """name: what the user called it. kinds: the images that each of its entries has, of FINAL, INITIAL and REAL.
    count: entries. notes: what the user should know after they were read."""

    name: str
    kinds: tuple[str, ...]
    count: int
    notes: list[str]

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Kind -> (H, W, 3) uint8 RGB of each entry, in order. UserError for what cannot be read."""


class Samples:
    """The images of a data set's samples; at most `limit` of them, evenly spread. as_real: its final images stand for
    real ones. detector: of its job. UserError: no data set, or no sample."""

    def __init__(self, out: str, limit: int | None, as_real: bool = False) -> None:
        self.name, self.data, self.as_real = out, open_data(out), as_real
        rows = [row for row in self.data.rows.to_pylist() if row["size"]]
        if not rows:
            raise UserError(f"{out}: no sample is ok, so there is nothing to compare; why: factory status {out}")
        self.rows = spread(rows, limit) if limit else rows
        self.count = len(self.rows)
        self.detector: DetectorSpec = self.data.job.stages.estimate.detector
        both = "initial" in self.data.job.sample.extras and not as_real
        self.kinds: tuple[str, ...] = (REAL,) if as_real else (INITIAL, FINAL) if both else (FINAL,)
        done, planned = self.data.rows.num_rows, self.data.plan.records
        self.notes = [f"{out} is unfinished: {done:,} of {planned:,} records are done"] if done < planned else []
        if not both and not as_real:
            self.notes.append(f"{out} holds no initial images; a job keeps them with sample.extras: [initial]")

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for row, files in stored(self.data, self.rows):
            with damage(self.data, row["key"]):
                final = decode_image(files["jpg"], self.data.job)
                if self.as_real:
                    yield {REAL: final}
                elif INITIAL in self.kinds:
                    yield {INITIAL: decode_image(files["initial.jpg"], self.data.job), FINAL: final}
                else:
                    yield {FINAL: final}


class Pictures:
    """Real images of a source; at most `limit` of them, evenly spread. UserError: absent, empty or of another kind.

    Whole frames are compared, upright and not cropped. Those that a job would reject as broken, too small or too large
    are left out and counted in `notes`.
    """

    kinds: tuple[str, ...] = (REAL,)

    def __init__(self, path: str, limit: int | None) -> None:
        self.name = path
        self.spec = images.named_source(path, "--real")
        try:
            found = images.listing(self.spec, 0)
        except UserError as error:
            words = str(error).replace("images.path", "--real", 1)
            raise UserError(words if words.startswith("--real") else f"--real {path}: {words}") from error
        items = found.items
        step = len(items) / limit if limit and limit < len(items) else 1.0
        self.names = [items[int(i * step)].name for i in range(min(limit or len(items), len(items)))]
        self.count = len(self.names)
        self.notes = [f"{self.name}: {line}" for line in (*found.notes, *found.left_out.lines())]

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        left = Tally()
        for name in self.names:
            try:
                yield {REAL: whole(images.read_image(self.spec, name), self.spec.min_side, self.spec.max_pixels)}
            except UNREADABLE as error:
                left.add(f"left out: {why_unread(error)}", name)
        self.notes += [f"{self.name}: {line}" for line in left.lines()]


def real_images(path: str, limit: int | None) -> ImageSet:
    """The images that `--real` names: one of our data sets, or a source of images. UserError where it is neither."""
    if "://" in path or (at_home(path) / JOB).is_file():
        return Samples(path, limit, as_real=True)
    return Pictures(path, limit)

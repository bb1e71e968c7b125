"""The images of a domain that a diffusion model learns: from a source of real images, or from a data set of ours.

A data set adds what a source does not have: the depth of the bodies that the factory estimated in each image, which the
depth-to-image model is conditioned on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from PIL import Image

from factory.errors import UserError
from factory.home import at_home
from factory.sources import images
from factory.sources.item import Tally
from factory.sources.picture import UNREADABLE, square, why_unread
from factory.store.dataset import open_data
from factory.store.decode import DecodedSample
from factory.store.index import SCHEMA
from factory.store.layout import JOB
from factory.store.where import Where, select

ItemT = TypeVar("ItemT")
LEAST = 4  # images; fewer cannot be split into a training and a held-out set


@dataclass(frozen=True, eq=False)
class DomainImage:
    """One image of the domain. image (S, S, 3) uint8 RGB; side: of the square that it was scaled from, px.

    action: what the person does, empty where the source does not say. caption: the image's own; empty: it has none.
    depth (S, S) float32 m, 0 where no body is; None where the source has none.
    """

    name: str
    image: np.ndarray
    side: float
    action: str = ""
    caption: str = ""
    depth: np.ndarray | None = None


@dataclass
class DomainImages:
    """The images of a domain, listed but not read. names: one for each; images made from one real image share it.
    identity: of all of them, wherever they lie. notes: what the user should know, a line each."""

    source: str
    names: list[str]
    identity: str
    read: Callable[[list[int], int], Iterator[DomainImage]]  # (rows, size in px) -> those that can be read
    notes: list[str] = field(default_factory=list)

    def split(self, share: float, seed: int) -> tuple[list[int], list[int]]:
        """(rows to train on, rows held out). `share` of the names are held out, drawn by the seed; at least one where
        the share is above 0. Images of one name stay together."""
        names = sorted(set(self.names), key=lambda name: _draw(seed, name))
        held = set(names[: max(1, round(share * len(names)))] if share else ())
        rows = range(len(self.names))
        return [i for i in rows if self.names[i] not in held], [i for i in rows if self.names[i] in held]


def open_domain(text: str, where: str | None = None, limit: int | None = None, depth: bool = False) -> DomainImages:
    """The domain that `--images` names: a folder, a list (.txt), tars (.tar), smart:DIR, skipose:DIR, or one of our
    data sets. where: which samples of a data set; limit: at most so many images, evenly spread; depth: whether the
    images must come with the depth of their bodies. UserError: there are none such, or too few."""
    if "://" in text or (at_home(text) / JOB).is_file():
        domain = _data_set(text, where, limit, depth)
    elif depth:
        raise UserError(
            f"--images {text}: a depth-to-image model learns images together with the depth of their bodies: give a "
            "data set made of these images (a job with `images` and sample.extras: [initial, depth])"
        )
    elif where:
        raise UserError(f"--where chooses samples of a data set; {text} is a source of images")
    else:
        domain = _source(text, limit)
    if len(domain.names) < LEAST:
        raise UserError(f"--images {text}: {len(domain.names)} images; at least {LEAST} are needed")
    return domain


def _source(text: str, limit: int | None) -> DomainImages:
    spec = images.named_source(text, "--images")
    try:
        found = images.listing(spec, 0)
    except UserError as error:
        words = str(error).replace("images.path", "--images", 1)
        raise UserError(words if words.startswith("--images") else f"--images {text}: {words}") from error
    items = _spread(found.items, limit)

    def read(rows: list[int], size: int) -> Iterator[DomainImage]:
        left = Tally()
        for row in rows:
            item = items[row]
            window = None if item.window is None else np.array(item.window, np.float32)
            try:
                data = images.read_image(spec, item.name)
                image, place = square(data, size, window, spec.min_side, spec.max_pixels)
            except UNREADABLE as error:
                left.add(f"left out: {why_unread(error)}", item.name)
            else:
                yield DomainImage(item.name, image, float(place[2]), item.action)
        domain.notes += [f"{text}: {line}" for line in left.lines()]

    notes = [f"{text}: {line}" for line in (*found.notes, *found.left_out.lines())]
    domain = DomainImages(text, [item.name for item in items], images.identity(spec, items), read, notes)
    return domain


def _data_set(text: str, where: str | None, limit: int | None, depth: bool) -> DomainImages:
    data = open_data(text)
    job, real = data.job, data.job.images is not None
    augment = job.stages.estimate.augment
    if real and "initial" not in job.sample.extras:
        raise UserError(f"--images {text}: it holds no initial images, which are the real ones; see sample.extras")
    if real and job.cycles > 1:
        raise UserError(f"--images {text}: after {job.cycles} cycles its initial images are no real ones any more")
    if depth and "depth" not in job.sample.extras:
        raise UserError(f"--images {text}: it holds no depth; make it with sample.extras: [initial, depth]")
    if depth and real and augment and not augment.keep_first:
        says = "its poses are varied, so its depth is not that of the real images"
        raise UserError(f"--images {text}: {says}; make one without stages.estimate.augment, or with keep_first")
    condition = Where(where, SCHEMA) if where else None
    chosen = data.rows.filter(select(condition, data.rows)).to_pylist()
    rows = [row for row in chosen if row["size"]]
    if real:  # variants share their real image, and a job may take the same image several times
        rows = list({row["source"]: row for row in rows[::-1] if not row["variant"]}.values())[::-1]
    if not rows:
        says = f"no sample fits --where {where!r}" if where else "no sample is ok"
        raise UserError(f"--images {text}: {says}; see factory stats {text}")
    rows = _spread(rows, limit)
    identity = hashlib.blake2b(digest_size=16)
    for row in rows:
        identity.update(f"{row['key']}\0{row['seed']}\0{row['size']}\n".encode())

    def read(picked: list[int], size: int) -> Iterator[DomainImage]:
        for row in picked:
            yield _sample(data.sample(rows[row]), names[row], size, real, depth)

    names = [row["source"] if real else row["key"] for row in rows]
    notes = [f"{text}: the initial images are learnt, which are the real ones"] if real else []
    return DomainImages(text, names, f"{data.fingerprint} {identity.hexdigest()}", read, notes)


def _sample(sample: DecodedSample, name: str, size: int, real: bool, depth: bool) -> DomainImage:
    image = sample.initial if real else sample.image
    assert image is not None  # its job stores them
    side, scaled = len(image), image
    if side != size:
        scaled = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
    metres = None
    if depth:
        assert sample.depth is not None
        rows = (np.arange(size) * side) // size  # the nearest value: a mean over an outline is no depth
        metres = sample.depth if side == size else sample.depth[rows][:, rows]
    return DomainImage(name, scaled, float(side), caption=sample.about.prompt, depth=metres)


def _spread(items: list[ItemT], limit: int | None) -> list[ItemT]:
    """At most `limit` of the items, evenly spread."""
    if limit is None or len(items) <= limit:
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()

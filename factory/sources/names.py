"""Which rows of a file of labels belong to which image, by the names that both have.

A name is taken as it is; then without its folders; then without its ending and whether letters are large, with folders
and without. A name that more than one image of the file could mean in this way means none. Backslashes are slashes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from factory.errors import UserError
from factory.sources.item import SUFFIXES, UNREAD, Tally, shown


def _bare(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return (stem if ending.lower() in SUFFIXES + UNREAD else name).casefold()


def _bare_stem(name: str) -> str:
    return _stem(_bare(name))


SPELLINGS: tuple[Callable[[str], str], ...] = (_bare, _stem, _bare_stem)


class Rows:
    """The rows of each image."""

    def __init__(self, images: Iterable[str]) -> None:
        """images: the name in each row."""
        self.by_path: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(images):
            self.by_path[_tidy(name)].append(row)
        self.spelt: dict[Callable[[str], str], dict[str, str]] = {}  # made when asked for: a file may have many names

    def name(self, image: str) -> str | None:
        """What the file calls an image that the images' source calls so."""
        if image in self.by_path:
            return image
        for spell in SPELLINGS:
            if spell not in self.spelt:
                self.spelt[spell] = _alone(self.by_path, spell)
            if (name := self.spelt[spell].get(spell(image))) is not None:
                return name
        return None

    def of(self, image: str) -> list[int]:
        """The rows of an image that the images' source calls so."""
        name = self.name(image)
        return [] if name is None else self.by_path[name]


def image_names(stored: np.ndarray) -> list[str]:
    """An array of texts or of bytes (N,) -> its names."""
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in np.ravel(stored)]


def matches(where: str, path: str, rows: Rows, images: Sequence[str]) -> str:
    """How many of the images the file names, in words. UserError where that is none, or where it gives one label to
    two images. where: the job's field, for messages."""
    found, doubled = dict[str, str](), Tally()
    count = 0
    for image in images:
        name = rows.name(image)
        if name is None:
            continue
        count += 1
        if (first := found.setdefault(name, image)) != image:
            doubled.add("", f"{shown(name)} may be {shown(first)} or {shown(image)}")
    if not count:
        theirs = shown(next(iter(rows.by_path), "nothing"))
        raise UserError(
            f"{where}: {path} names none of the {len(images):,} images: it names {theirs}, they are called such as "
            f"{shown(images[0])}; write their paths below images.path into imgname"
        )
    for number, example in doubled.values():
        raise UserError(f"{where}: {path} names {number:,} images in a way that fits two: {example}; write whole paths")
    return f"{count:,} of {len(images):,} images are named in {path}"


def _tidy(name: str) -> str:
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _alone(names: Iterable[str], spell: Callable[[str], str]) -> dict[str, str]:
    """Spelling -> the only name that is spelt so."""
    found: dict[str, str | None] = {}
    for name in names:
        spelt = spell(name)
        found[spelt] = name if spelt not in found else None
    return {spelt: name for spelt, name in found.items() if name is not None}

"""Assigns the rows of a file of labels to images by name.

Names are compared as they are, then without folders, then without ending and case, with folders and without. A spelling
that fits several names of the file is not used. Backslashes count as slashes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from factory.errors import UserError
from factory.sources.item import SUFFIXES, UNREAD, Tally, shown_name


def _bare(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return (stem if ending.lower() in SUFFIXES + UNREAD else name).casefold()


def _bare_stem(name: str) -> str:
    return _stem(_bare(name))


SPELLINGS: tuple[Callable[[str], str], ...] = (_bare, _stem, _bare_stem)


class Rows:
    """The row numbers of each image in a file of labels."""

    def __init__(self, images: Iterable[str]) -> None:
        """images: for each row the name of its image, as the file has it."""
        self.by_path: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(images):
            self.by_path[_tidy(name)].append(row)
        self.spelt: dict[Callable[[str], str], dict[str, str]] = {}  # filled on demand: there may be millions

    def name(self, image: str) -> str | None:
        """The file's name for an image; `image` is the name that the images' source has for it. None: not in the
        file."""
        if image in self.by_path:
            return image
        for spell in SPELLINGS:
            if spell not in self.spelt:
                self.spelt[spell] = _alone(self.by_path, spell)
            if (name := self.spelt[spell].get(spell(image))) is not None:
                return name
        return None

    def of(self, image: str) -> list[int]:
        """The row numbers of an image, by the name that the images' source has for it."""
        name = self.name(image)
        return [] if name is None else self.by_path[name]


def image_names(stored: np.ndarray) -> list[str]:
    """(N,) array of texts or of bytes -> N names."""
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in np.ravel(stored)]


def matches(field: str, path: str, rows: Rows, images: Sequence[str]) -> str:
    """One line that says how many of the images the file names. UserError when it names none, or when a name of the
    file fits two images. field: the job's field that gives the file, for messages."""
    found, doubled = dict[str, str](), Tally()
    count = 0
    for image in images:
        name = rows.name(image)
        if name is None:
            continue
        count += 1
        if (first := found.setdefault(name, image)) != image:
            doubled.add("", f"{shown_name(name)} may be {shown_name(first)} or {shown_name(image)}")
    if not count:
        theirs = shown_name(next(iter(rows.by_path), "nothing"))
        raise UserError(
            f"{field}: {path} names none of the {len(images):,} images: it names {theirs}, they are called such as "
            f"{shown_name(images[0])}; write their paths below images.path into imgname"
        )
    for number, example in doubled.values():
        raise UserError(f"{field}: {path} names {number:,} images in a way that fits two: {example}; write whole paths")
    return f"{count:,} of {len(images):,} images are named in {path}"


def _tidy(name: str) -> str:
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _alone(names: Iterable[str], spell: Callable[[str], str]) -> dict[str, str]:
    """Spelling -> name, for the spellings that only one name has."""
    found: dict[str, str | None] = {}
    for name in names:
        spelt = spell(name)
        found[spelt] = name if spelt not in found else None
    return {spelt: name for spelt, name in found.items() if name is not None}

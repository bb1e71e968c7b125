"""`Item`, one real image of a source; `Listing`, all of them; and the rules for what counts as an image."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from factory.errors import escaped
from factory.home import at_home
from factory.job import ImagesSpec
from factory.sources.tars import base

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
UNREAD = (".heic", ".heif", ".avif", ".gif", ".jp2", ".jxl", ".psd", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw")
# Names that begin with a dot, except . and .., and folders in which other programs keep thumbnails.
HIDDEN = re.compile(r"(?:^|/)(?:\.(?!\.?(?:/|$))|(?:__MACOSX|@eaDir)(?:/|$))")
ABSENT = -1  # the size of an image that is not there


@dataclass(frozen=True, slots=True)
class Item:
    """One image. action: what the person does; empty when the source does not say.

    window: (centre x, centre y, side) px of the square of the image that is used; None: the largest one in the middle.
    size: bytes; ABSENT when a list names an image that does not exist. offset: first byte of the image in its file,
    which is above 0 in a tar.
    """

    name: str
    action: str = ""
    window: tuple[float, float, float] | None = None
    size: int = ABSENT
    offset: int = 0


class Tally(dict[str, tuple[int, str]]):
    """Counts of things by kind: words for the kind -> (how many, name of the first one)."""

    def add(self, what: str, example: str) -> None:
        count, first = self.get(what, (0, example))
        self[what] = count + 1, first

    def lines(self) -> list[str]:
        return [f"{count:,} {what}, such as {shown_name(example)}" for what, (count, example) in self.items()]


@dataclass(frozen=True)
class Listing:
    """The images of a source, in order. left_out: files that are not used, by reason. notes: what else a user should
    know, one line each."""

    items: list[Item]
    left_out: Tally = field(default_factory=Tally)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)


def root(spec: ImagesSpec) -> Path:
    """The folder that the names of the source's images are relative to."""
    path = at_home(spec.path)
    if spec.kind in ("folder", "skipose", "smart") or path.is_dir():
        return path
    return base(path) if spec.kind == "webdataset" else path.parent


def why_left_out(name: str) -> str | None:
    """Why a file or folder of that name is left out of a listing, whatever it holds; None: it is not."""
    if HIDDEN.search(name):
        return "hidden files and folders"
    try:
        name.encode()
    except UnicodeEncodeError:  # neither an index nor a sample's json can hold such a name
        return "files and folders whose names are not UTF-8 (rename them)"
    return None


def why_no_picture(name: str) -> str | None:
    """Why a file is not read as an image, judged by its ending; None: it is."""
    ending = os.path.splitext(name)[1].lower()
    if ending in SUFFIXES:
        return None
    if ending in UNREAD:
        return f"{ending} pictures, which are not read (convert them to JPEG or PNG)"
    return "files that are no pictures"


def file_size(path: str) -> int:
    """Bytes of a regular file; ABSENT for anything else. Reading a pipe, for example, would block."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    return about.st_size if stat.S_ISREG(about.st_mode) else ABSENT


def shown_name(name: str, most: int = 80) -> str:
    """A name of untrusted origin, ready for a message: `escaped`, and its middle left out beyond `most` characters."""
    text = escaped(name)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"

"""Lists the images that a text file names. Each line holds a path and, optionally, a tab and the action."""

from __future__ import annotations

import codecs
import os

from factory.errors import UserError
from factory.home import at_home
from factory.job import ImagesSpec
from factory.sources.item import ABSENT, Item, Listing, Tally, file_size, root, shown_name
from factory.untrusted import Unreadable
from factory.untrusted.text import read_text

LONGEST = 1 << 28  # bytes of a list at most; enough for millions of images
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def listing(spec: ImagesSpec) -> Listing:
    """The images in the order of the list. A list may come from a stranger, so it may only name files below its own
    folder; UserError when it names another."""
    folder, left, items = os.path.join(os.path.abspath(root(spec)), ""), Tally(), dict[str, Item]()
    for number, line in enumerate(_text(spec.path).splitlines(), 1):
        path, _, action = line.partition("\t")
        path = path.strip()
        if not path or path.startswith("#"):
            continue
        for spelt in (path, path.replace("\\", "/")):  # a backslash may be part of a name, or Windows' separator
            place = os.path.normpath(os.path.join(folder, spelt))
            if not place.startswith(folder):
                raise UserError(f"images.path: {spec.path}:{number} leaves the folder that the list lies in")
            if (size := file_size(place)) != ABSENT or "\\" not in path:
                break
        name = place.removeprefix(folder)
        if name in items:
            left.add("lines that name an image again (the last one counts)", name)
        items[name] = Item(name, action.strip(), size=size)
    return Listing(list(items.values()), left)


def _text(path: str) -> str:
    """The file's text, without the byte order mark that Windows may have put before it."""
    try:
        data = read_text(at_home(path), LONGEST)
    except OSError as error:
        raise UserError(f"images.path: the list {path} cannot be read ({error.strerror})") from None
    except Unreadable as error:
        raise UserError(f"images.path: {path} is no list ({error})") from None
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"images.path: {path}:{line} is not UTF-8; save the list as UTF-8") from None
    if "\0" in text:
        raise UserError(f"images.path: {shown_name(path)} is no text, or neither UTF-8 nor marked as UTF-16")
    return text

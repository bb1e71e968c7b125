"""Lists the images in tars, as WebDataset reads them: members with the same key are the fields of one sample.

A key ends at the first dot of the file's name: KEY.jpg is the image, KEY.txt its action, and KEY.initial.jpg another
field. So a.001.jpg is the field 001.jpg of a sample `a`, and nothing says whether that is the sample's image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from factory.home import at_home
from factory.job import ImagesSpec
from factory.sources.item import SUFFIXES, Item, Listing, Tally, root, why_left_out, why_no_picture
from factory.sources.tars import Member, members, tars

PACKED = "compressed tars (unpack them: gunzip)"
LINKS = "members that are links or sparse files (pack the files themselves)"
BESIDE = "pictures beside their sample's image (KEY.NAME.jpg)"
DOTS = "pictures whose key has a dot (a key ends at its first dot: rename them)"


def listing(spec: ImagesSpec) -> Listing:
    """The images in the order of the tars. UserError when a file is no tar."""
    folder, path, left = root(spec), at_home(spec.path), Tally()
    for other in sorted(path.iterdir()) if path.is_dir() else ():
        if other.name.endswith((".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")):
            left.add(PACKED, other.name)
        elif other.is_dir():
            left.add("sub-folders (write a pattern: */*.tar)", other.name)
    items = [item for tar in tars(path) for item in _items(tar, tar.relative_to(folder).as_posix(), left)]
    return Listing(items, left)


def _items(tar: Path, name: str, left: Tally) -> Iterator[Item]:
    held = members(str(tar))
    images = {_key(member)[0] for member in held if f".{_key(member)[1]}" in SUFFIXES}
    for member, place in held.items():
        key, ending = _key(member)
        full = f"{name}/{member}"
        if why := why_left_out(member):
            left.add(why, full)
        elif not place.plain:
            left.add(LINKS, full)
        elif f".{ending}" in SUFFIXES:
            yield Item(full, _text(tar, held.get(f"{key}.txt")), size=place.size, offset=place.offset)
        elif not why_no_picture(member):
            left.add(BESIDE if key in images else DOTS, full)
        elif ending != "txt" and key not in images:
            left.add(why_no_picture(member) or "", full)


def _key(member: str) -> tuple[str, str]:
    """(key with its folder, ending in lower case)."""
    folder, slash, name = member.rpartition("/")
    key, _, ending = name.partition(".")
    return f"{folder}{slash}{key}", ending.lower()


def _text(tar: Path, member: Member | None) -> str:
    """The first 1000 bytes of the member as text on one line; empty when there is no such member."""
    if member is None or not member.plain:
        return ""
    with tar.open("rb") as file:
        file.seek(member.offset)
        return " ".join(file.read(min(member.size, 1000)).decode("utf-8-sig", "replace").split())

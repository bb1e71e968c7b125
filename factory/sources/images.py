"""Real images: which there are, and the bytes of each.

A listing follows from the files alone and is sorted or in the data set's own order, so that a plan is the same on every
machine. Names are relative to the source's root; an image in a tar is called TAR/MEMBER.
"""

from __future__ import annotations

import functools
import hashlib
import tarfile
from os.path import normpath
from pathlib import Path

from factory.errors import UserError
from factory.job import Images
from factory.sources import skipose, smart
from factory.sources.item import Item, root

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def listing(spec: Images, seed: int) -> list[Item]:
    """The source's images, or the share of them that the job asks for. UserError: not there, empty, or not as told."""
    read = {"folder": _folder, "list": _list, "webdataset": _webdataset, "skipose": skipose.items, "smart": smart.items}
    items = read[spec.kind](spec)
    if not items:
        raise UserError(f"images.path: no images of kind {spec.kind} in {spec.path}")
    if spec.share == 1:
        return items
    kept = sorted(range(len(items)), key=lambda i: _draw(seed, items[i].name))[: max(1, round(spec.share * len(items)))]
    return [items[i] for i in sorted(kept)]


def read(spec: Images, name: str) -> bytes:
    """The image's file. OSError or KeyError where it has gone since it was listed."""
    if spec.kind != "webdataset":
        return (root(spec) / name).read_bytes()
    tar, _, member = name.partition(".tar/")
    path = str(root(spec) / f"{tar}.tar")
    offset, size = _members(path)[member]
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def _folder(spec: Images) -> list[Item]:
    folder = root(spec)
    if not folder.is_dir():
        raise UserError(f"images.path: no such folder: {spec.path}")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return [Item(name) for name in sorted(path.relative_to(folder).as_posix() for path in found)]


def _list(spec: Images) -> list[Item]:
    """A list may come from others: it reaches nothing outside its own folder."""
    folder, items = root(spec), {}
    try:
        lines = Path(spec.path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"images.path: the list {spec.path} cannot be read ({error})") from None
    for number, line in enumerate(lines, 1):
        path, _, action = line.partition("\t")
        if not path.strip() or path.startswith("#"):
            continue
        name = normpath(folder / path.strip())
        if not Path(name).is_relative_to(normpath(folder)):
            raise UserError(f"images.path: {spec.path}:{number} leaves the folder that the list lies in")
        name = Path(name).relative_to(normpath(folder)).as_posix()
        items[name] = Item(name, action.strip())
    return list(items.values())


def _webdataset(spec: Images) -> list[Item]:
    """The images of one tar, of all in a folder, or of those that a pattern names; KEY.txt is the action of KEY.jpg."""
    path = Path(spec.path).expanduser()
    tars = sorted(root(spec).glob("*.tar") if path.is_dir() else root(spec).glob(path.name))
    items = []
    for tar in tars:
        members = _members(str(tar))
        for member in members:
            folder, _, name = member.rpartition("/")
            key, _, ending = name.partition(".")  # KEY.initial.jpg is another field of the sample, not its image
            if f".{ending.lower()}" in SUFFIXES:
                text = members.get(f"{folder}/{key}.txt" if folder else f"{key}.txt")
                items.append(Item(f"{tar.name}/{member}", _text(tar, text)))
    return items


def _text(tar: Path, place: tuple[int, int] | None) -> str:
    if place is None:
        return ""
    with tar.open("rb") as file:
        file.seek(place[0])
        return " ".join(file.read(min(place[1], 1000)).decode("utf-8", "replace").split())


@functools.lru_cache(maxsize=64)
def _members(path: str) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) of a plain tar's files. UserError where it is none."""
    try:
        with tarfile.open(path, "r:") as tar:
            return {member.name: (member.offset_data, member.size) for member in tar if member.isreg()}
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"images.path: {path} is not an uncompressed tar ({error})") from None


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()

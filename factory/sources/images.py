"""Real images: which there are, what they are, and the bytes of each.

A listing follows from the files alone and is sorted or in the data set's own order, so that a plan is the same on every
machine. Names are relative to the source's root; an image in a tar is called TAR/MEMBER.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from factory.errors import UserError
from factory.job import ImagesSpec
from factory.sources import folder, lists, shards, skipose, smart, tars
from factory.sources.item import ABSENT, Item, Listing, Tally, root
from factory.untrusted import Unreadable

LISTINGS = {
    "folder": folder.listing,
    "list": lists.listing,
    "webdataset": shards.listing,
    "skipose": skipose.listing,
    "smart": smart.listing,
}
LOOKED_INTO = 10_000  # images, evenly spread, whose bytes count for the identity of a source
END = 32 * 1024  # bytes at either end of each
PIXEL, SPARE = 16, 1 << 26  # bytes of a pixel at most, and of what else its file holds
AT_ONCE = 16  # files that are read: a network disk answers each after a while


def listing(spec: ImagesSpec, seed: int) -> Listing:
    """The source's images, or the share of them that the job asks for. UserError: absent, empty, or of another kind."""
    found = LISTINGS[spec.kind](spec)
    if not found.items:
        left = "; ".join(found.left_out.lines()[:3])
        raise UserError(f"images.path: no images of kind {spec.kind} in {spec.path}{left and f' (but {left})'}")
    absent = Tally()
    for item in found.items:
        if item.size == ABSENT:
            absent.add(f"of {len(found):,} images are not there", item.name)
    if sum(count for count, _ in absent.values()) == len(found):
        raise UserError(f"images.path: none of the {len(found):,} images is there, such as {found.items[0].name}")
    found.notes.extend(absent.lines())
    if spec.share == 1:
        return found
    order = sorted(range(len(found)), key=lambda i: _draw(seed, found.items[i].name))
    kept = order[: max(1, round(spec.share * len(found)))]
    return replace(found, items=[found.items[i] for i in sorted(kept)])


def read(spec: ImagesSpec, name: str) -> bytes:
    """The image's file. OSError or KeyError where it has gone since it was listed; Unreadable where it is longer than
    an image of the job's `max_pixels` can be."""
    path, member = _place(spec, name)
    most = SPARE + PIXEL * spec.max_pixels
    offset, size = tars.members(path)[member] if member else (0, most + 1)
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read(min(size, most + 1))
    if len(data) > most:
        raise Unreadable(f"more than {most:,} bytes")
    return data


def identity(spec: ImagesSpec, items: list[Item]) -> str:
    """What the images are, wherever they lie: how many, how large, and a digest of all names, sizes, actions and
    windows, and of the bytes at both ends of LOOKED_INTO of them.

    Images that come, go, or change their name, order or size always change it. One that was edited and kept its size
    does if its bytes differ there and it is among those looked into: always, in a source of up to LOOKED_INTO images.
    """
    digest = hashlib.blake2b(digest_size=16)
    for item in items:
        window = item.window and [round(value, 1) for value in item.window]  # sums may differ in the last digit
        digest.update(f"{item.name}\0{item.action}\0{window}\0{item.size}\n".encode())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for ends in pool.map(lambda item: _ends(spec, item), items[:: -(-len(items) // LOOKED_INTO)]):
            digest.update(ends)
    size = sum(max(item.size, 0) for item in items)
    return f"{len(items):,} images of {size:,} bytes: {digest.hexdigest()}"


def _ends(spec: ImagesSpec, item: Item) -> bytes:
    try:
        with open(_place(spec, item.name)[0], "rb") as file:
            file.seek(item.offset)
            first = file.read(min(item.size, 2 * END) if item.size <= 2 * END else END)
            if item.size <= 2 * END:
                return first
            file.seek(item.offset + item.size - END)
            return first + file.read(END)
    except OSError:
        return b""


def _place(spec: ImagesSpec, name: str) -> tuple[str, str]:
    """(path of the file, member of it where it is a tar)."""
    folder = os.fspath(root(spec))
    if spec.kind != "webdataset":
        return os.path.join(folder, name), ""
    tar, _, member = name.partition(".tar/")
    return os.path.join(folder, f"{tar}.tar"), member


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()

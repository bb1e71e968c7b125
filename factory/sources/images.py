"""The real images of a job: their listing, their identity, and the bytes of each.

A listing depends on the files alone. It is sorted, or has the data set's own order, so that a plan is the same on every
machine. Names are relative to the source's root folder; an image in a tar is named TAR/MEMBER.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pydantic import ValidationError

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
LOOKED_INTO = 10_000  # images at most, evenly spread, whose bytes count for the identity of a source
END = 32 * 1024  # bytes that count at either end of each of them
PIXEL, SPARE = 16, 1 << 26  # an image file has at most PIXEL bytes for each pixel, and SPARE bytes besides
LISTS, TARS = (".txt", ".lst", ".list"), ".tar"  # endings of the paths of such sources
AT_ONCE = 16  # files that are read at the same time: a network disk takes long to answer


def named_source(text: str, option: str) -> ImagesSpec:
    """The source that a command's option names: KIND:PATH, with @SPLIT after the path of SMART and Ski-Pose, or a path
    alone, whose ending tells whether it is a list, tars or a folder. UserError: no path, or no such split."""
    kind, colon, path = text.partition(":")
    if not colon or kind not in LISTINGS:
        ending = os.path.splitext(text)[1].lower()
        kind, path = ("list" if ending in LISTS else "webdataset" if ending == TARS else "folder"), text
    values: dict[str, str] = {"kind": kind, "path": path}
    folder, at, split = path.rpartition("@")
    if kind in ("smart", "skipose") and at and "/" not in split:
        values |= {"path": folder, "split": split}
    try:
        return ImagesSpec.model_validate(values)
    except ValidationError as error:
        says = "no path" if not values["path"] else f"split {split}: there are train and test"
        raise UserError(f"{option} {text}: {says}") from error


def listing(spec: ImagesSpec, seed: int) -> Listing:
    """The source's images, or the share of them that the job asks for. UserError: the source is missing, empty or of
    another kind."""
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


def read_image(spec: ImagesSpec, name: str) -> bytes:
    """The bytes of the image's file. OSError or KeyError when it was removed after it had been listed; Unreadable when
    it is longer than an image of `max_pixels` can be."""
    path, member = _place(spec, name)
    most = SPARE + PIXEL * spec.max_pixels
    offset, size, _ = tars.members(path)[member] if member else tars.Member(0, most + 1, True)
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read(min(size, most + 1))
    if len(data) > most:
        raise Unreadable(f"more than {most:,} bytes")
    return data


def identity(spec: ImagesSpec, items: list[Item]) -> str:
    """What identifies the images, wherever they lie: their number, their total size, and a digest of all names, sizes,
    actions and windows and of the bytes at both ends of LOOKED_INTO of them.

    It changes when images are added, removed, renamed, reordered or change their size. An edit that keeps the size
    changes it if the edited bytes are among those that are read: in a source of up to LOOKED_INTO images, both ends of
    every image are.
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
    """(path of the file, name of the member when the file is a tar, else empty)."""
    folder = os.fspath(root(spec))
    if spec.kind != "webdataset":
        return os.path.join(folder, name), ""
    tar, _, member = name.partition(".tar/")
    return os.path.join(folder, f"{tar}.tar"), member


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()

"""Lists the images below a folder. Links are followed; a folder that can be reached in several ways is listed once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from heapq import heappop, heappush
from operator import attrgetter

from factory.errors import UserError
from factory.job import ImagesSpec
from factory.sources.item import Item, Listing, Tally, root, why_left_out, why_no_picture

NOWHERE = "links that lead nowhere, or files that cannot be looked at"
AGAIN = "linked folders that are listed already"
CLOSED = "folders that may not be read"


def listing(spec: ImagesSpec) -> Listing:
    """The images below the folder, sorted by name. UserError when there is no such folder."""
    folder, left, followed = root(spec), Tally(), Tally()
    if not folder.is_dir():
        raise UserError(f"images.path: no such folder: {spec.path}")
    items = sorted(_items(os.fspath(folder), left, followed), key=attrgetter("name"))
    return Listing(items, left, followed.lines())


def _items(folder: str, left: Tally, followed: Tally) -> Iterator[Item]:
    """Yield the images below `folder`. Folders that can be reached without a link are visited first: an image there
    must not get its name by way of a link."""
    seen: set[tuple[int, int]] = set()
    todo, links = [("", False)], list[str]()  # (name below `folder`, whether a link leads there)
    while todo or links:
        inside, linked = todo.pop() if todo else (heappop(links), True)
        try:
            place = os.stat(os.path.join(folder, inside))
            entries = list(os.scandir(os.path.join(folder, inside)))
        except OSError:
            left.add(CLOSED, inside)
            continue
        if linked and (place.st_dev, place.st_ino) in seen:
            left.add(AGAIN, inside)
            continue
        seen.add((place.st_dev, place.st_ino))
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            try:
                if why := why_left_out(entry.name):
                    left.add(why, name)
                elif entry.is_dir():
                    if entry.is_symlink():
                        heappush(links, name)
                        followed.add("linked folders were followed", f"{name} -> {os.readlink(entry.path)}")
                    else:
                        todo.append((name, linked))
                elif why := why_no_picture(name):
                    left.add(why, name)
                elif entry.is_file():
                    yield Item(name, size=entry.stat().st_size)
                else:
                    left.add(NOWHERE, name)
            except OSError:  # such as a link to itself
                left.add(NOWHERE, name)

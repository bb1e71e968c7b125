"""The pictures of samples, as report and card show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from factory.job import JobSpec
from factory.present import pictures
from factory.store.dataset import DataSet
from factory.store.decode import decode_depth, decode_image, decode_mask, decode_people
from factory.untrusted import Unreadable

if TYPE_CHECKING:
    from factory.geometry.body import BodyModel

POSED = ("global_orient", "body_pose", "betas", "transl", "K")  # what draws a body
COLUMNS = ("initial", "masks", "depth", "final", "mesh")
Paint = Callable[[dict[str, bytes]], dict[str, np.ndarray | None]]


def painter(job: JobSpec, body: BodyModel | None, columns: Sequence[str] = COLUMNS, side: int = 320) -> Paint:
    """Files of a sample -> its pictures by column, (H, W, 3) uint8, None where it was not stored. side: of the mesh's
    picture, about, px; without a body model there is none. It raises Unreadable or KeyError for a damaged sample."""

    def paint(files: dict[str, bytes]) -> dict[str, np.ndarray | None]:
        out: dict[str, np.ndarray | None] = dict.fromkeys(columns)
        final = decode_image(files["jpg"], job)
        initial = decode_image(files["initial.jpg"], job) if "initial.jpg" in files else None
        for name, image in (("initial", initial), ("final", final)):
            if name in columns:
                out[name] = image
        if "masks" in columns and "person.png" in files:
            behind = final if initial is None else initial
            out["masks"] = pictures.masks(
                behind, *(decode_mask(files[name], job) for name in ("person.png", "object.png"))
            )
        if "depth" in columns and "depth.npy" in files:
            out["depth"] = pictures.depth(decode_depth(files["depth.npy"], job))
        if "mesh" in columns and body is not None:
            out["mesh"] = pictures.overlay(final, decode_people(files["smpl.npz"], POSED), body, side)
        return out

    return paint


def spread(rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most `limit` of the rows, evenly spread."""
    if len(rows) <= limit:
        return rows
    return [rows[i * len(rows) // limit] for i in range(limit)]


def stored(data: DataSet, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Each row and the files of its sample. UserError where one is not there."""
    stream = data.all_sample_files(rows)
    for row in rows:
        with damage(data, row["key"]):
            files = next(stream)
        yield row, files


@contextmanager
def damage(data: DataSet, key: str) -> Iterator[None]:
    """UserError for a sample that is not there or not what it should be."""
    try:
        yield
    except (Unreadable, KeyError) as error:
        raise data.damaged(key, error) from None

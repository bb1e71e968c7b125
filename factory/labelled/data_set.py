"""The people of a data set of the factory's own: its final images, and the bodies that were rendered into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.geometry.crops import spin_side
from factory.geometry.joints import J24_PART
from factory.job import JobSpec
from factory.labelled.base import OPEN_BODY, SKELETON_J24, STARTER_BODY, LabelledPeople, spread_rows
from factory.sources import skipose, smart
from factory.store.dataset import DataSet, open_data
from factory.store.decode import decode_image, decode_people
from factory.store.index import SCHEMA
from factory.store.where import Where, select
from factory.untrusted import Unreadable

READ = ("pose", "betas", "joints2d", "joints3d", "bbox")  # of smpl.npz
LEAST = 1.0  # px: a person whose box is smaller is out of the picture


def open_data_set(name: str, where: str | None, limit: int | None) -> LabelledPeople:
    """The people of the samples that fit `where`, in the plan's order; people outside the picture are left out. limit:
    at most so many, evenly spread; no other sample is read. UserError: no data set, a wrong condition or one that
    nothing fits, or a damaged sample."""
    data = open_data(name)
    rows = data.rows
    if not (rows["size"].to_numpy() > 0).any():
        raise UserError(f"{name}: no sample is ok, so nobody is labelled; why: factory status {name}")
    rows = rows.filter(select(Where(where, SCHEMA) if where else None, rows))
    if not rows.num_rows:
        raise UserError(f"{name}: no sample fits --where {where!r}; see factory stats {name}")
    samples = rows.to_pylist()
    everybody = [(i, person) for i, row in enumerate(samples) for person in range(row["people"])]
    if not everybody:
        raise UserError(f"{name}: none of the {len(samples):,} samples that fit shows a person")
    wanted = [everybody[pick] for pick in spread_rows(len(everybody), limit)]
    picks = {i: [person for _, person in some] for i, some in groupby(wanted, lambda pair: pair[0])}
    read = [samples[i] for i in picks]
    people: dict[str, list[np.ndarray]] = {array: [] for array in READ}
    keys, actions, known = list[str](), list[str](), _actions(data.job)
    for row, persons, arrays in zip(read, picks.values(), _people(data, read), strict=True):
        sides = arrays["bbox"][:, 2:] - arrays["bbox"][:, :2]
        seen = [person for person in persons if person < len(sides) and (sides[person] >= LEAST).all()]
        for array, values in people.items():
            values.append(arrays[array][seen])
        keys += [row["key"]] * len(seen)
        actions += [next((action for action in known if action in row["prompt"]), "")] * len(seen)
    if not keys:
        raise UserError(f"{name}: all people of the {len(samples):,} samples that fit are out of the picture")
    pose, betas, joints2d, joints3d, bbox = (np.concatenate(people[array]) for array in READ)
    centre = (bbox[:, :2] + bbox[:, 2:]) / 2
    body = data.job.body
    return LabelledPeople(
        name=name,
        images=tuple(keys),
        crop=np.concatenate([centre, spin_side(bbox, joints2d)[:, None]], 1),
        keypoints=joints2d,
        action=tuple(actions),
        pose=pose,
        betas=betas,
        joints3d=joints3d[:, J24_PART],
        skeleton=SKELETON_J24,
        body=OPEN_BODY if body.model == STARTER_BODY else body.name,
        reader=SampleImages(name, {row["key"]: row for row in read}),
    )


class SampleImages:
    """Reads final images by the key of their sample: a `base.ReadImages`. It opens the data set anew in each process,
    because what a data set holds open cannot be sent to another."""

    def __init__(self, out: str, rows: Mapping[str, dict[str, Any]]) -> None:
        self.out, self.rows = out, dict(rows)

    @cached_property
    def _data(self) -> DataSet:
        return open_data(self.out)

    def __getstate__(self) -> dict[str, Any]:
        return {"out": self.out, "rows": self.rows}

    def __call__(self, names: Sequence[str]) -> list[np.ndarray]:
        files, images = self._data.all_sample_files([self.rows[key] for key in names]), []
        for key in names:
            try:
                images.append(decode_image(next(files)["jpg"], self._data.job))
            except (Unreadable, KeyError) as error:
                raise self._data.damaged(key, error) from None
        return images


def _people(data: DataSet, rows: list[dict[str, Any]]) -> Any:
    """The arrays of READ of each row's sample."""
    files = data.all_sample_files(rows)
    for row in rows:
        try:
            yield decode_people(next(files)["smpl.npz"], READ)
        except (Unreadable, KeyError) as error:
            raise data.damaged(row["key"], error) from None


def _actions(job: JobSpec) -> list[str]:
    """The actions that a prompt may tell of, longest first: "pole vault" also holds "vault"."""
    actions = set(job.prompts.action)
    if job.images and job.images.kind in ("smart", "skipose"):
        actions |= {sport.action for sport in smart.SPORTS} | {skipose.ACTION}
    return sorted(actions - {""}, key=lambda action: (-len(action), action))

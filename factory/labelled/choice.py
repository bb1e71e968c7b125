"""Labelled people by the words of a command line or an experiment file."""

from __future__ import annotations

import re
from pathlib import Path

from factory.errors import UserError
from factory.home import at_home
from factory.job import ImagesSpec
from factory.labelled.base import LabelledPeople, spread_rows
from factory.labelled.data_set import open_data_set
from factory.labelled.skipose import open_skipose
from factory.labelled.smart import open_smart
from factory.labelled.spin_file import open_spin_file
from factory.store.layout import JOB

SPLITS = ("train", "test")
ANNOTATED = {"smart": open_smart, "skipose": open_skipose}
FORMS = (
    "a data set of the factory (a folder or s3://...), smart:DIR[@SPLIT], skipose:DIR[@SPLIT], or FILE.npz[:IMAGES] of "
    "SPIN's layout"
)


def open_people(
    text: str, *, split: str = "test", where: str | None = None, limit: int | None = None
) -> LabelledPeople:
    """The people that `text` names, in one of FORMS.

    split: of SMART and Ski-Pose, where `text` names none. where: a condition on the index of a data set of the
    factory's own, such as "score > 30". limit: at most so many people, evenly spread. UserError: nothing of the kind is
    there, it is laid out otherwise or damaged, or nobody is left.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind in ANNOTATED:
        people = _annotated(text, kind, rest, split)
    elif match := re.fullmatch(r"(.+?\.npz)(?::(.*))?", text, re.DOTALL):
        file = at_home(match[1])
        people = open_spin_file(text, file, at_home(match[2]) if match[2] else file.parent)
    elif "://" in text or (at_home(text) / JOB).is_file():
        return open_data_set(text, where, limit)
    else:
        raise UserError(f"{text}: nothing labelled is there; give {FORMS}")
    if where is not None:
        raise UserError(f"--where: {text} has no index to ask; only data sets of the factory have one")
    if not len(people):
        raise UserError(f"{text}: nobody is labelled there")
    return people if limit is None else people.take(spread_rows(len(people), limit))


def _annotated(text: str, kind: str, rest: str, split: str) -> LabelledPeople:
    folder, at, named = rest.rpartition("@")
    if at and "/" not in named:
        split = named
    else:
        folder = rest
    if split not in SPLITS:
        raise UserError(f"{text}: no split {split}; there are {' and '.join(SPLITS)}")
    if not folder or not Path(at_home(folder)).is_dir():
        raise UserError(f"{text}: no such folder: {folder or 'none is named'}")
    spec = ImagesSpec.model_validate({"kind": kind, "path": folder, "split": split})
    try:
        return ANNOTATED[kind](text, spec)
    except UserError as error:
        raise UserError(f"{text}: {str(error).removeprefix('images.path: ')}") from error

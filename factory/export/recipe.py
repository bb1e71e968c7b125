"""What 4D-Humans and TokenHMR need to train on an hmr2 export: two YAML files and a guide. Also the check of the
files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from factory.geometry.crops import LOOSE
from factory.untrusted import Unreadable, text, yaml_text

Tars = Mapping[str, tuple[int, int]]  # split -> (tars, people)
ENTRIES = "datasets_tar.yaml"
RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
LARGEST = 1 << 20  # bytes of yaml that are read


def link(dataset: str) -> str:
    """Name of the link to the export in the trainer's folder. The ending keeps it from shadowing one of the trainer's
    packages."""
    return f"{dataset}-hmr2"


def entries(dataset: str, tars: Tars) -> bytes:
    """The entries that the trainers' `datasets_tar.yaml` gets, as YAML. As in theirs, a set with an epoch_size is
    repeated without end, and a validation set without one is read once."""
    train, val = _roles(tars)
    content = {}
    for split, (count, people) in tars.items():
        urls = f"{link(dataset)}/{dataset}-{split}/{{000000..{count - 1:06d}}}.tar"
        more: dict[str, Any] = {"KEYPOINT_LIST": [0]} if split == val != train else {"epoch_size": people}
        content[_entry(dataset, split)] = {"TYPE": "ImageDataset", "URLS": urls, **more}
    return yaml.safe_dump(content, sort_keys=False, width=1000).encode()


def override(dataset: str, tars: Tars) -> bytes:
    """The hydra config, as YAML, that replaces the trainers' `mix_all.yaml`."""
    train, val = _roles(tars)
    content = {
        "defaults": [{"/data_filtering": "low1"}],
        "DATASETS": {
            "SUPPRESS_BAD_POSES": False,
            "TRAIN": {_entry(dataset, train): {"WEIGHT": 1.0}},
            "VAL": {_entry(dataset, val) if val else "COCO-VAL": {"WEIGHT": 1.0}},
            "MOCAP": "CMU-MOCAP",
        },
    }
    return f"# @package _global_\n{yaml.safe_dump(content, sort_keys=False)}".encode()


def guide(dataset: str, tars: Tars) -> str:
    """How to train on the export, as text for its README."""
    val = _roles(tars)[1]
    says = "VAL is the val split of this export" if val else "VAL is still COCO-VAL, for this export has no val split"
    return f"""4D-Humans, in its own folder:

    ln -s /where/this/folder/is {link(dataset)}
    cat {link(dataset)}/datasets_tar.yaml >> hmr2/configs/datasets_tar.yaml
    cp {link(dataset)}/override.yaml hmr2/configs_hydra/data/{dataset}.yaml
    python train.py exp_name={dataset} data={dataset} experiment=hmr_vit_transformer trainer=gpu \\
        launcher=local

TokenHMR, in its own folder (it looks for tars below its DATASETS.DATASET_DIR, tokenhmr/dataset_dir):

    ln -s /where/this/folder/is tokenhmr/dataset_dir/{link(dataset)}
    cat tokenhmr/dataset_dir/{link(dataset)}/datasets_tar.yaml >> tokenhmr/lib/configs/datasets_tar.yaml
    cp tokenhmr/dataset_dir/{link(dataset)}/override.yaml tokenhmr/lib/configs_hydra/datasets/{dataset}.yaml
    python tokenhmr/train.py datasets={dataset} experiment=tokenhmr_release

`override.yaml` takes the place of their `mix_all.yaml`. It names all that they ask of one: the filters
(`/data_filtering: low1`), TRAIN, VAL and MOCAP. TRAIN is this data set alone: to train on a mix, add lines of
`mix_all.yaml`, with weights. {says}. MOCAP, the poses of their discriminator, is theirs (CMU-MOCAP).

One filter differs. By default SUPPRESS_BAD_POSES takes the label from every pose that is improbable among AMASS's:
those are the hard poses that this data set is for. It is off there. SUPPRESS_BETAS_THRESH stays as `low1` has it (3.0
in 4D-Humans): a body with a coefficient beyond it trains without its shape, and, with POSES_BETAS_SIMULTANEOUS, without
its pose.

Boxes are {LOOSE} times the body's, as in their own tars. `extra_info` of each person holds `K`, the camera of the whole
image, `transl` in metres, and `camera`, the weak-perspective (s, tx, ty) on the square box of `center` and the longer
side of `scale`. Where the data set holds the depth, `detection.npz` has a mask of each person: where the label's body
is seen, not where a detector saw somebody.
"""


def problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong when tars that the folder's YAML names are missing."""
    path = folder / ENTRIES
    if not path.is_file():
        return  # exports of other programs have no such file
    try:
        listed = yaml_text.load(text.decoded(text.read_text(path, LARGEST)))
        urls = {name: str(entry["URLS"]) for name, entry in listed.items()}
    except (Unreadable, TypeError, KeyError, AttributeError, OSError) as error:
        yield f"{ENTRIES}: unreadable ({' '.join(str(error).split())[:200]})"
        return
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.tar")}
    for name, url in urls.items():
        absent = next((tar for tar in _expanded(url) if not {tar, *_tails(tar)} & there), None)
        if absent:
            yield f"{ENTRIES}: {name}: names {absent}, which is not here"


def _expanded(url: str) -> Iterator[str]:
    """The names that a pattern such as {000000..000012}.tar stands for."""
    match = RANGE.search(url)
    if not match:
        yield url
        return
    for number in range(int(match[1]), int(match[2]) + 1):
        yield f"{url[: match.start()]}{number:0{len(match[1])}d}{url[match.end() :]}"


def _tails(name: str) -> Iterator[str]:
    """The name relative to each of its parent folders. Which of them is the export's folder depends on the trainer."""
    parts = PurePosixPath(name).parts
    return ("/".join(parts[i:]) for i in range(1, len(parts)))


def _roles(tars: Tars) -> tuple[str, str | None]:
    """(split to train on, split to validate on or None)."""
    return ("train" if "train" in tars else next(iter(tars))), ("val" if "val" in tars else None)


def _entry(dataset: str, split: str) -> str:
    return f"{dataset}-{split}".upper()

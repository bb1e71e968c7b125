"""How far the images of data sets lie from real ones: what `factory evaluate images` computes.

One pass over each set: its images go through the extractors as they are and, with a cutter, once more with everything
but the people black. Then each set is compared with the real images, figure by figure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.evaluate.extractors import FIGURES, Extractor
from factory.evaluate.humans import Cut
from factory.evaluate.image_sets import REAL, ImageSet
from factory.evaluate.statistics import (
    LEAST_IMAGES,
    SUBSETS,
    SpreadValue,
    cmmd,
    frechet_distance,
    kernel_distance,
    precision_recall,
    subset_size,
)

WHOLE, HUMANS = "whole images", "humans"
PREFIX = {WHOLE: "", HUMANS: "H-"}
BATCH = 16  # images that go through a network at once
FEW = 2000  # images below which a Fréchet distance says more of their number than of them
Seen = Callable[[str, int, int], None]  # name of the set, images done, images in all


@dataclass(frozen=True)
class Row:
    """The figures of one kind of images of a data set (INITIAL or FINAL), by name, as one extractor sees one region
    (WHOLE or HUMANS). count, real_count: the images that went in."""

    data: str
    images: str
    region: str
    extractor: str
    count: int
    real_count: int
    figures: dict[str, SpreadValue]


@dataclass
class Comparison:
    """All rows; how they were computed, what is left out of them, and what makes them weak, a line each."""

    real: str
    rows: list[Row] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


Features = dict[tuple[str, str, str], Tensor]  # (kind of images, region, kind of extractor) -> (N, D)


def compare(
    sets: Sequence[ImageSet], real: ImageSet, extractors: Sequence[Extractor], cut: Cut | None = None,
    subset: int | None = None, device: torch.device | str = "cpu", seen: Seen | None = None,
) -> Comparison:  # fmt: skip
    """Compare every set with the real images. cut: also compare the people that it cuts out. subset: images of each
    subset of a kernel distance, none: `subset_size`. UserError: too few images or people, or less than `subset`."""
    for one in (real, *sets):  # before any network looks at anything
        _require(one.count, one.name, "images", subset)
    features_real = _features(real, extractors, cut, seen)
    _check(features_real, real, subset)
    out = Comparison(real.name)
    for one in sets:
        features = _features(one, extractors, cut, seen)
        _check(features, one, subset)
        for (kind, region, name), x in features.items():
            y = features_real[REAL, region, name]
            figures = _figures(x.to(device), y.to(device), name, PREFIX[region], subset)
            out.rows.append(Row(one.name, kind, region, name, len(x), len(y), figures))
    out.notes += [note for one in (real, *sets) for note in one.notes]
    out.warnings += _limits(out.rows)
    return out


def _features(images: ImageSet, extractors: Sequence[Extractor], cut: Cut | None, seen: Seen | None) -> Features:
    found: dict[tuple[str, str, str], list[Tensor]] = defaultdict(list)
    entries, done = iter(images), 0
    while batch := list(islice(entries, BATCH)):
        for kind in images.kinds:
            pictures = [entry[kind] for entry in batch]
            regions: dict[str, list[np.ndarray]] = {WHOLE: pictures}
            if cut is not None:
                regions[HUMANS] = [person for person in cut(pictures) if person is not None]
            for region, shown in regions.items():
                for extractor in extractors if shown else ():
                    found[kind, region, extractor.kind].append(extractor(shown))
        done += len(batch)
        if seen is not None:
            seen(images.name, done, images.count)
    regions_asked = (WHOLE, HUMANS) if cut is not None else (WHOLE,)
    keys = [(kind, region, each.kind) for each in extractors for region in regions_asked for kind in images.kinds]
    return {key: torch.cat(found[key]) if found[key] else torch.empty(0, 1) for key in keys}


def _check(features: Features, images: ImageSet, subset: int | None) -> None:
    for (kind, region, _), rows in features.items():
        what = "images" if region == WHOLE else f"{kind} images in which the detector finds a person"
        _require(len(rows), images.name, what, subset)


def _require(count: int, name: str, what: str, subset: int | None) -> None:
    if count < LEAST_IMAGES:
        raise UserError(
            f"{name}: {count:,} {what}; at least {LEAST_IMAGES} are needed, and some thousand for a figure to mean much"
        )
    if subset is not None and count < subset:
        raise UserError(f"{name}: {count:,} {what}, less than a subset of {subset:,}; give a smaller --subset-size")


def _figures(x: Tensor, y: Tensor, extractor: str, prefix: str, subset: int | None) -> dict[str, SpreadValue]:
    values = {}
    wanted = FIGURES[extractor]
    if "frechet_distance" in wanted:
        values["frechet_distance"] = frechet_distance(x, y)
    if "kernel_distance" in wanted:
        values["kernel_distance"] = kernel_distance(x, y, subset or subset_size(x, y))
    if "cmmd" in wanted:
        values["cmmd"] = cmmd(x, y)
    if "precision" in wanted:
        values["precision"], values["recall"] = precision_recall(x, y)
    return {f"{prefix}{wanted[name]}": values[name] for name in wanted}


def _limits(rows: Iterable[Row]) -> list[str]:
    """What makes the figures weak, in sentences."""
    counts = sorted({count for row in rows for count in (row.count, row.real_count)})
    lines = []
    if counts[0] < FEW:
        lines.append(
            f"below {FEW:,} images a Fréchet distance is biased upwards by their small number, and no published figure "
            f"compares with it: the smallest set here has {counts[0]:,}"
        )
    judged = {row.count for row in rows if row.region == WHOLE}
    if len(judged) > 1:
        lines.append(
            f"the sets have {min(judged):,} to {max(judged):,} images; compare equal numbers with --limit {min(judged)}"
        )
    return lines


def spread_words() -> str:
    """What stands beside each figure, in a line."""
    return (
        "+-: half the 95 % interval over images, by bootstrap, or for a Fréchet distance by each image's influence; "
        f"for a kernel distance the standard deviation over {SUBSETS} subsets"
    )

"""What a format is: it writes steps of at most STEP images, each on its own, then what holds them together."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from factory.errors import UserError
from factory.export import archive
from factory.export.contract import Field, problems
from factory.export.people import PeopleRows, people_of
from factory.export.source import ExportSample, ExportSource
from factory.store.fs import LocalFiles
from factory.store.sample import npz_bytes
from factory.untrusted.pictures import picture_size

PIECE = 1000  # images: one tar, or one folder of images; a power of ten, so that numbers of pieces read well
STEP = 50  # images: what a worker that is killed has done in vain, at most; PIECE is a multiple of it
PARTS = "parts/"
SPLIT = "[a-z0-9]+"  # a split's name


class Format(ABC):
    """One export. Its steps may be written by many processes, in any order, more than once: the bytes are the same."""

    name: ClassVar[str]
    trainer: ClassVar[str]
    turned: ClassVar[tuple[str, ...]] = ()  # words in a data set's name at which it turns images

    def __init__(self, source: ExportSource, target: Path) -> None:
        self.source, self.target, self.files = source, target, LocalFiles(target, "--to")
        self.dataset = source.job.name.replace("_", "-")  # BEDLAM and CameraHMR split their lists of names at "_"

    def check(self) -> None:
        """UserError where this data set cannot be written so; nothing is touched."""
        for word in self.turned:
            if word in self.dataset:
                raise UserError(
                    f"--format {self.name}: the name {self.source.job.name} holds {word!r}, and {self.trainer} turns"
                    " the images of such data sets by 90 degrees, but not the labels; make the job under another `name`"
                )

    @abstractmethod
    def step(self, split: str, piece: int, number: int, samples: Iterable[ExportSample]) -> int:
        """Write the step, which belongs to the piece; returns how many people are in it."""

    def join(self, split: str, piece: int, steps: Iterable[int]) -> None:  # noqa: B027
        """Make one file of a piece's steps, all of which are written. May be called again afterwards."""

    @abstractmethod
    def finish(self, split: str, steps: int) -> None:
        """Write what needs all the steps of a split. Those may be removed when it returns."""

    @abstractmethod
    def outputs(self) -> re.Pattern[str]:
        """The names, below the target, of all files that this export may make beside `PARTS`; of no others."""

    @abstractmethod
    def folders(self) -> re.Pattern[str]:
        """The names, below the target, of all folders that this export may make; of no others."""

    def clear(self) -> None:
        """Remove what an unfinished export of an older state of the data set has made, and nothing else."""
        parts = re.compile(PARTS + SPLIT + r"/\d{6,}\.(json|tar|npz)")
        ours = self.outputs()
        self.files.delete([name for name in self.files.sizes() if parts.fullmatch(name)])  # the marks come first
        self.files.delete([name for name in self.files.sizes() if ours.fullmatch(name)])

    def part(self, split: str, number: int, ending: str) -> str:
        """What a step leaves for `join` or `finish`."""
        return f"{PARTS}{split}/{number:06d}.{ending}"

    @abstractmethod
    def guide(self, splits: Mapping[str, tuple[int, int]]) -> str:
        """How to train on it, for the README; writes what else the trainer wants. splits: name -> (images, people)."""

    @classmethod
    @abstractmethod
    def validate(cls, folder: Path) -> Iterator[str]:
        """'file: field: what is wrong' in anybody's folder. UserError where it holds nothing of the kind."""


class Table(Format):
    """A format of one .npz of per-person rows a split, beside a folder of images. Rows are shuffled image by image."""

    fields: ClassVar[tuple[Field, ...]]
    objects: ClassVar[bool] = False  # whether the loader allows pickled objects

    @abstractmethod
    def columns(self, people: PeopleRows, images: np.ndarray) -> dict[str, np.ndarray]:
        """Column -> (M, ...); images (M,) text: each row's image below images()."""

    def table(self, split: str) -> str:
        """The split's .npz below the target."""
        return f"{self.dataset}-{split}.npz"

    def images(self) -> str:
        """Below the target, the folder that the loader joins image names to."""
        return ""

    def members(
        self, rows: Mapping[str, tuple[tuple[int, ...], np.dtype, Iterable[bytes]]]
    ) -> dict[str, Iterable[bytes]]:
        """What the .npz holds: name -> bytes of an .npy, of column -> shape, dtype, bytes."""
        return {name: archive.column(*column) for name, column in rows.items()}

    def outputs(self) -> re.Pattern[str]:
        name, images = re.escape(self.source.job.name), re.escape(self.images() + "/" * bool(self.images()))
        table = re.escape(self.table("*")).replace(r"\*", SPLIT)
        return re.compile(rf"{images}images/{SPLIT}/\d{{6,}}/{name}-\d{{8}}\.jpg|{table}")

    def folders(self) -> re.Pattern[str]:
        above = [*Path(self.images(), "images").parents, *Path(self.table("*")).parents]
        chain = "|".join(sorted({re.escape(path.as_posix()) for path in above} - {re.escape(".")}))
        images = re.escape(Path(self.images(), "images").as_posix())
        return re.compile(rf"parts(/{SPLIT})?|{images}(/{SPLIT}(/\d{{6,}})?)?" + f"|{chain}" * bool(chain))

    def step(self, split: str, piece: int, number: int, samples: Iterable[ExportSample]) -> int:
        folder = f"images/{split}/{piece:06d}"
        jpgs, kept = {}, []
        for sample in samples:
            jpgs[f"{sample.key}.jpg"] = sample.jpg
            kept.append(ExportSample(sample.key, b"", sample.width, sample.height, sample.people))
        self.files.put_all((Path(self.images()) / folder).as_posix(), jpgs)
        people = people_of(kept)
        images = np.array([f"{folder}/{key}.jpg" for key in people.keys])
        self.files.put(self.part(split, number, "npz"), [npz_bytes(self.columns(people, images))])
        return len(images)

    def finish(self, split: str, steps: int) -> None:
        names = [self.target / self.part(split, number, "npz") for number in range(steps)]
        shapes: dict[str, list[tuple[int, ...]]] = {}
        dtypes: dict[str, np.dtype] = {}
        for name in names:
            with archive.Npz(name) as part:
                for column in part:
                    shapes.setdefault(column, []).append(part.shape(column))
                    dtypes[column] = np.promote_types(dtypes.get(column, part.dtype(column)), part.dtype(column))

        def data(column: str) -> Iterator[bytes]:
            for name in names:
                with archive.Npz(name) as part:
                    yield from (block.astype(dtypes[column]).tobytes() for block in part.blocks(column))

        rows = {
            column: ((sum(shape[0] for shape in some), *some[0][1:]), dtypes[column], data(column))
            for column, some in shapes.items()
        }
        self.files.put(self.table(split), archive.zipped(self.members(rows)))

    @classmethod
    def validate(cls, folder: Path) -> Iterator[str]:
        tables = [path for path in sorted(folder.rglob("*.npz")) if cls.is_table(path.relative_to(folder).as_posix())]
        if not tables:
            raise UserError(f"{folder}: no .npz is there, so it is no {cls.name} folder")
        for path in tables:
            label = path.relative_to(folder).as_posix()
            try:
                table = archive.Npz(path, cls.objects)
                arrays = cls.arrays(table)
            except Exception as error:  # damaged in any of the ways that archives and pickles can be
                yield f"{label}: unreadable ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
                continue
            alone = list(problems(cls.fields, arrays))
            found = [*alone, *cls.more(folder, path, arrays, table.modules), *([] if alone else cls.agree(arrays))]
            yield from (f"{label}: {problem}" for problem in found)

    @classmethod
    @abstractmethod
    def agree(cls, arrays: Mapping[str, Any]) -> Iterator[str]:
        """Whether columns agree with each other, of which each of `fields` is sound alone."""

    @classmethod
    def is_table(cls, name: str) -> bool:
        return not name.startswith(PARTS)

    @classmethod
    def arrays(cls, table: archive.Npz) -> dict[str, Any]:
        """The columns to check, by the fields' names. Columns that no field describes are not read."""
        return {field.name: table[field.name] for field in cls.fields if field.name in table}

    @classmethod
    def more(cls, folder: Path, path: Path, arrays: Mapping[str, Any], modules: set[str]) -> Iterator[str]:
        """What no single field tells."""
        yield from images_there(folder, arrays.get("imgname"), "imgname")


def images_there(root: Path, names: Any, field: str) -> Iterator[str]:
    """Whether the images lie where the loader will look, and can be decoded; a thousand of them are tried."""
    if not isinstance(names, np.ndarray) or not names.size:
        return
    chosen = names[np.linspace(0, len(names) - 1, min(len(names), 1000)).astype(int)]
    missing = [str(name) for name in chosen if not (root / str(name)).is_file()]
    if missing:
        yield f"{field}: {len(missing):,} of {len(chosen):,} images are not below {root}, such as {missing[0]}"
        return
    broken = []
    for name in dict.fromkeys(map(str, chosen)):
        try:
            picture_size(root / name)
        except ValueError as error:
            broken.append(f"{name} ({error})")
    if broken:
        yield f"{field}: {len(broken):,} images cannot be decoded, such as {broken[0]}"

"""The format of 4D-Humans (HMR2) and TokenHMR: WebDataset tars whose samples are an image and a pickled list of
people."""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.export import agree, contract, pickles, recipe
from factory.export.archive import Npz
from factory.export.base import PIECE, SPLIT, Format
from factory.export.contract import Field
from factory.export.humandata import numpy1
from factory.export.masks import seen
from factory.export.people import PX, people_of
from factory.export.source import ExportSample
from factory.geometry.crops import LOOSE
from factory.geometry.joints import FLIP49, SMPL_OF_SPIN49, TWINS
from factory.store.sample import npz_bytes
from factory.store.tar import tar_segment, tar_trailer
from factory.untrusted import inert
from factory.untrusted.pictures import picture_size
from factory.untrusted.tars import walk

SAMPLE = 1 << 28  # bytes of one sample, at most
JOINTS = 44  # OpenPose-25, then the first 19 of J24
FIELDS = (
    Field("keypoints_2d", (JOINTS, 3), "2D joints in px and confidence", checks=contract.JOINTS2D),
    Field(
        "keypoints_3d",
        (JOINTS, 4),
        "3D joints in m and confidence",
        checks=(*contract.JOINTS3D, contract.openpose_order, contract.pelvis),
    ),
    Field("center", (2,), "the box's centre in px"),
    Field("scale", (2,), "width and height of the box in px / 200", checks=(contract.box_over_200,)),
    Field("body_pose", (72,), "axis-angles in radians, global orientation first", checks=(contract.axis_angle,)),
    Field("betas", (10,), "betas", checks=(contract.shape_space,)),
    Field("has_body_pose", (), "0 or 1, a numpy 0-d array", "fiub", checks=(contract.flag,)),
    Field("has_betas", (), "0 or 1, a numpy 0-d array", "fiub", checks=(contract.flag,)),
)


class Hmr2(Format):
    name, trainer = "hmr2", "4D-Humans (HMR2) or TokenHMR"

    def step(self, split: str, piece: int, number: int, samples: Iterable[ExportSample]) -> int:
        count, chunks = 0, []
        for sample in samples:
            entries, masks = people(sample), seen(sample)
            if entries:  # an image without people is left out
                files = {"jpg": sample.jpg, "data.pyd": b"".join(pickles.dump(entries))}
                if masks is not None:
                    files["detection.npz"] = npz_bytes({"masks": masks}, deflate=True)
                chunks.append(tar_segment((f"{sample.key}.{name}", content) for name, content in files.items()))
                count += len(entries)
        self.files.put(self.part(split, number, "tar"), chunks)
        return count

    def join(self, split: str, piece: int, steps: Iterable[int]) -> None:
        name, parts = self._tar(split, piece), [self.part(split, number, "tar") for number in steps]

        def chunks() -> Iterator[bytes]:
            size = 0
            for part in parts:
                segment = self.files.read(part)
                size += len(segment)
                yield segment
            yield tar_trailer(size)

        if not (self.target / name).is_file():
            self.files.put(name, chunks())
        self.files.delete(parts)

    def finish(self, split: str, steps: int) -> None: ...

    def outputs(self) -> re.Pattern[str]:
        return re.compile(rf"{re.escape(self.dataset)}-{SPLIT}/\d{{6,}}\.tar|datasets_tar\.yaml|override\.yaml")

    def folders(self) -> re.Pattern[str]:
        return re.compile(rf"parts(/{SPLIT})?|{re.escape(self.dataset)}-{SPLIT}")

    def _tar(self, split: str, number: int) -> str:
        return f"{self.dataset}-{split}/{number:06d}.tar"

    def guide(self, splits: Mapping[str, tuple[int, int]]) -> str:
        tars = {split: (-(-images // PIECE), people) for split, (images, people) in splits.items()}
        self.files.put("datasets_tar.yaml", [recipe.entries(self.dataset, tars)])
        self.files.put("override.yaml", [recipe.override(self.dataset, tars)])
        return recipe.guide(self.dataset, tars)

    @classmethod
    def validate(cls, folder: Path) -> Iterator[str]:
        tars = sorted(folder.rglob("*.tar"))
        if not tars:
            raise UserError(f"{folder}: no .tar is there, so it is no hmr2 folder")
        for path in tars:
            name, by_field, count = path.relative_to(folder).as_posix(), {}, 0  # type: ignore[var-annotated]
            sound: list[dict[str, Any]] = []
            try:
                for key, files in _samples(path):
                    count += 1
                    for problem in sample_problems(files, sound):
                        by_field.setdefault(problem.partition(":")[0], (key, problem, []))[2].append(key)
            except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
                yield f"{name}: not a readable tar ({error})"
            for key, problem, keys in by_field.values():
                others = len(set(keys)) - 1
                yield f"{name}: {key}: {problem}" + f" (and {others:,} more of {count:,} images)" * bool(others)
            if not count:
                yield f"{name}: holds no sample"
            if sound and not by_field:
                yield from (f"{name}: {problem}" for problem in _agree(sound))
        yield from recipe.problems(folder)


def people(sample: ExportSample) -> list[dict[str, Any]]:
    """The list that `<key>.data.pyd` holds: a dict for each person. `scale` is (width, height) / 200 px; in HMR2's
    evaluation files it is another."""
    rows = people_of([sample])
    sides = np.float32(LOOSE) * rows.sides  # as in HMR2's own tars: its ViT sees 3/4 of the square's width alone
    camera = rows.camera(sides.max(1))
    flag = np.array(1, np.float32)
    return [
        {
            "keypoints_2d": rows.joints2d[i, :JOINTS],
            "keypoints_3d": rows.joints3d[i, :JOINTS],
            "center": rows.center[i],
            "scale": sides[i] / np.float32(PX),
            "body_pose": rows.pose[i],
            "betas": rows.betas[i],
            "has_body_pose": flag,
            "has_betas": flag,
            "extra_info": {
                "K": rows.K[i], "transl": rows.transl[i], "camera": camera[i],
                "detection_npz_idx": int(rows.number[i]),
            },
        }
        for i in range(len(rows.keys))
    ]  # fmt: skip


def sample_problems(files: Mapping[str, bytes], sound: list[dict[str, Any]] | None = None) -> Iterator[str]:
    """Yield texts 'field: what is wrong' of one sample; files: extension -> bytes. People with whom nothing is wrong
    are added to `sound`."""
    image = next((files[name] for name in ("jpg", "jpeg", "png") if name in files), None)
    size = None
    if image is None:
        yield "jpg: missing (or jpeg, or png)"
    else:
        try:
            size = picture_size(io.BytesIO(image))
        except ValueError as error:
            yield f"jpg: unreadable ({error})"
    if "data.pyd" not in files:
        yield "data.pyd: missing"
        return
    try:
        entries, modules = inert.loads(files["data.pyd"])
    except Exception as error:  # a broken pickle may raise any error
        yield f"data.pyd: unreadable ({error})"
        return
    yield from numpy1(modules)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield f"data.pyd: a {type(entries).__name__}, not a list of dicts, one for each person"
        return
    masks = None
    if "detection.npz" in files:
        with contextlib.suppress(Exception), Npz(io.BytesIO(files["detection.npz"])) as detection:  # damaged in any way
            masks = detection["masks"]
        if masks is None or masks.ndim != 3 or masks.dtype != bool or (size and masks.shape[1:] != size[::-1]):
            yield "detection.npz: masks must be (n, H, W) bool, of the image's size"
            masks = None
    for entry in entries:
        wrong = list(contract.problems(FIELDS, entry, rows=False))
        yield from wrong
        if sound is not None and not wrong and len(sound) < agree.ROWS:
            sound.append({field.name: entry[field.name] for field in FIELDS})
        if masks is not None:
            extra = entry.get("extra_info")
            index = extra.get("detection_npz_idx") if isinstance(extra, dict) else None
            if not isinstance(index, int | np.integer) or not 0 <= index < len(masks):
                yield "extra_info: detection_npz_idx must number one of detection.npz's masks"


def _agree(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Compare the labels of a tar's people with each other, as `export.agree` does."""
    rows = {field.name: np.stack([entry[field.name] for entry in entries]) for field in FIELDS}
    joints = rows["keypoints_2d"]
    side = rows["scale"].max(1)
    yield from agree.boxes("center", *agree.square(rows["center"], side), "keypoints_2d", joints)
    pairs = [(a, b) for a, b in TWINS if b < JOINTS - 25]
    yield from agree.twins("keypoints_2d[:25]", joints, "keypoints_2d[25:]", joints[:, 25:], pairs)
    yield from agree.joints3d2d("keypoints_3d", rows["keypoints_3d"], "keypoints_2d", joints, FLIP49[:JOINTS])
    posed = np.flatnonzero(rows["has_body_pose"])
    yield from agree.pose2d(
        "body_pose", rows["body_pose"][posed], "keypoints_2d", joints[posed], SMPL_OF_SPIN49[:JOINTS]
    )


def _samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, extension -> bytes) as webdataset groups members: consecutive ones with the same key, which is the
    name up to its first dot."""
    key, files, left = "", dict[str, bytes](), SAMPLE
    for info, content in walk(path, SAMPLE):
        if not info.isfile():
            continue
        folder, slash, name = info.name.rpartition("/")
        stem, _, extension = name.partition(".")
        if folder + slash + stem != key:
            if files:
                yield key, files
            key, files, left = folder + slash + stem, {}, SAMPLE
        left -= info.size
        if info.issparse() or left < 0:
            raise tarfile.ReadError(f"{info.name[:100]!r} is sparse, or of a sample longer than any")
        files[extension.lower()] = content()
    if files:
        yield key, files

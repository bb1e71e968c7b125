"""Writes a target domain in the layout of the data set that it stands for, with train.npz and test.npz beside it.

smart    annotations/*.json and images/*.jpg, as `sources.smart` reads them. The clips for training come first, as many
         as the authors take; a clip of diving holds each image for ten frames, because every tenth frame is used. No
         file holds the 3D truth of an image for training.
skipose  SPLIT/labels.h5 with 2D and 3D, and SPLIT/seq_*/cam_*/image_*.png, as `sources.skipose` reads them.
test.npz the held-out images with their truth, in SPIN's layout: imgname, center, scale, pose, shape, has_smpl, S, part,
         openpose; and action (N,). test.txt lists them with their actions, as a source of images.

train.npz the 2D keypoints of the images for training, in SPIN's layout: what a job's `images.keypoints` takes.

Keypoints for training are as inexact as annotators' are, by COCO's sigmas; those for testing are exact.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from factory.errors import UserError
from factory.geometry.body import spin49
from factory.geometry.camera import project
from factory.geometry.crops import LOOSE, keypoint_crop
from factory.geometry.joints import COCO17, COCO17_SIGMAS, H36M17, J24_PART, JOINTS54, OPENPOSE25, OPENPOSE_PART, picks
from factory.labelled.choice import open_people
from factory.sources import skipose, smart
from factory.starter.world.domains import DomainWorld, Split, find_domain
from factory.starter.world.scene import FIRST_OBJECT, Scene

if TYPE_CHECKING:
    from rich.console import Console

_world: DomainWorld  # of a rendering process

ABOUT = "domain.json"
ROWS = ".rows"  # folder of what is known of each image, until the labels are written
DEEP = 0.3  # m: a joint so far behind the visible surface is hidden by another part of the body
PX = 200.0  # SPIN gives the side of a box in units of 200 px
CAMERAS, FRAMES = 6, 100  # of a sequence of skiing
# COCO's sigmas, and for joints that COCO lacks those of the nearest joint that it has.
SIGMAS = dict(zip(COCO17, COCO17_SIGMAS, strict=True)) | {
    "neck": 0.079, "pelvis": 0.107, "spine_h36m": 0.107, "thorax": 0.079, "jaw_h36m": 0.035, "head_h36m": 0.035,
    **{f"{side}_{part}": 0.089 for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")},
}  # fmt: skip
H36M17_IN_54 = picks([name.replace("thorax", "neck") for name in H36M17], JOINTS54)


@dataclass(frozen=True)
class Shot:
    """One image of a domain: its place among those of an action in a split, and its file's name."""

    split: Split
    action: str
    number: int
    file: str

    @property
    def row(self) -> str:
        return f"{self.split}-{self.action.replace(' ', '-')}-{self.number:06d}.npz"


def write_domain(
    name: str, out: str | Path, train: int | None = None, test: int | None = None, seed: int = 0,
    workers: int | None = None, console: Console | None = None,
) -> bool:  # fmt: skip
    """Write a domain, or go on where an earlier call stopped. Returns whether there was anything to do.

    train: images of each action for training; test: held-out images of all actions together; None: the domain's own
    numbers. The files do not depend on `workers`, the processes that render; None: one for each core. UserError:
    unknown domain, or a folder that holds something else.
    """
    domain, out = find_domain(name), Path(out)
    train, test = domain.train if train is None else train, domain.test if test is None else test
    if train < 1 or test < len(domain.actions):
        raise UserError(f"domain {name}: at least {len(domain.actions)} held-out images are needed, one of each action")
    if domain.layout == "skipose":
        _require_h5py()
    about = {"domain": name, "seed": seed, "train": train, "test": test}
    if _claim(out, about):
        return False
    shots = list(_shots(name, train, test))
    missing = [shot for shot in shots if not (out / ROWS / shot.row).exists()]
    (out / ROWS).mkdir(exist_ok=True)
    for folder in {(out / shot.file).parent for shot in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers or os.cpu_count(), initializer=_open, initargs=(name,)) as pool:
        done = pool.map(partial(_write_shot, out, seed), missing, chunksize=4)
        for _ in track(done, f"rendering {name}", len(missing), console=console):
            pass
    rows = []
    for shot in shots:
        with np.load(out / ROWS / shot.row) as stored:
            rows.append({key: stored[key] for key in stored})
    {"smart": _write_smart, "skipose": _write_skipose}[domain.layout](out, shots, rows)
    _write_test(out, shots, rows)
    write_keypoints(out, domain.layout)
    _put(out / ABOUT, json.dumps({**about, "complete": True}, indent=1).encode())
    shutil.rmtree(out / ROWS)
    return True


def _claim(out: Path, about: dict[str, Any]) -> bool:
    """Whether the folder holds the domain already. UserError where it holds another one, or anything else."""
    held: dict[str, Any] = {}
    if (out / ABOUT).exists():
        held = json.loads((out / ABOUT).read_text())
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there and holds no domain; give a new folder")
    complete = held.pop("complete", False)
    if held and held != about:
        words = ", ".join(f"{key} {value}" for key, value in held.items())
        raise UserError(f"{out}: holds another domain ({words}); give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    if not held:
        _put(out / ABOUT, json.dumps(about, indent=1).encode())
    return bool(complete)


def _shots(name: str, train: int, test: int) -> Iterator[Shot]:
    """All images of a domain, in the order of its labels."""
    domain = find_domain(name)
    for split in ("train", "test"):
        for i, action in enumerate(domain.actions):
            share = (test + i) // len(domain.actions)  # sums up to `test`
            for number in range(train if split == "train" else share):
                if domain.layout == "smart":
                    file = f"images/{split}-{action.replace(' ', '-')}-{number:06d}.jpg"
                else:
                    file = (
                        f"{split}/seq_{number // FRAMES:03d}/cam_{number % CAMERAS:02d}/image_{number % FRAMES:06d}.png"
                    )
                yield Shot(split, action, number, file)


def _open(name: str) -> None:
    """Give a rendering process its world, and one thread: there is a process for each core."""
    global _world
    torch.set_num_threads(1)
    _world = DomainWorld(find_domain(name))


def _write_shot(out: Path, seed: int, shot: Shot) -> None:
    """Render an image, and store what is known of it; the row is written last, because an image counts with its row."""
    scene = _world.sample(seed, shot.split, shot.action, shot.number)
    Image.fromarray(scene.image).save(out / shot.file, quality=92)  # ignored by PNG: quality
    joints = _joints(scene)
    pixels = project(joints, scene.K)
    area = float((scene.instances == 1).sum())
    annotator = np.random.default_rng([_world.scene_seed(seed, shot.split, shot.action, shot.number), 1])
    temporary = out / ROWS / f"{shot.row}.{os.getpid()}.npz"
    np.savez(
        temporary,
        joints=joints.astype(np.float32),
        pixels=pixels.astype(np.float32),
        hidden=_hidden(scene, joints, pixels),
        pose=scene.pose[0],
        betas=scene.betas[0],
        # By how much an annotator errs for a sigma of 1: COCO's sigma is the root of the mean squared distance.
        error=(annotator.standard_normal((len(JOINTS54), 2)) * np.sqrt(area / 2)).astype(np.float32),
    )
    os.replace(temporary, out / ROWS / shot.row)


def _joints(scene: Scene) -> np.ndarray:
    """(54, 3) m, camera frame: the joints of the scene's person."""
    pose, betas, transl = (torch.from_numpy(array[:1]) for array in (scene.pose, scene.betas, scene.transl))
    with torch.no_grad():
        return _world.world.body(pose[:, :3], pose[:, 3:], betas, transl)[1][0].numpy()


def _hidden(scene: Scene, joints: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(54,) bool: the joints that lie behind an object, deep behind another part of the body, or outside the image."""
    size = len(scene.image)
    column, row = np.floor(pixels).astype(int).T
    outside = (np.minimum(column, row) < 0) | (np.maximum(column, row) >= size)
    column, row = column.clip(0, size - 1), row.clip(0, size - 1)
    surface = scene.depth[row, column]
    behind_body = (surface > 0) & (joints[:, 2] > surface + DEEP)
    return outside | behind_body | (scene.instances[row, column] >= FIRST_OBJECT)


def annotated(row: dict[str, np.ndarray], picked: tuple[int, ...], names: tuple[str, ...], exact: bool) -> np.ndarray:
    """(J, 2) px: joints `picked` of the 54, as annotated. names: of the joints, for their sigmas."""
    sigmas = np.array([SIGMAS[name] for name in names])[:, None]
    return row["pixels"][list(picked)] + (0 if exact else sigmas * row["error"][list(picked)])


def _write_smart(out: Path, shots: list[Shot], rows: list[dict[str, np.ndarray]]) -> None:
    picked = picks(OPENPOSE25, JOINTS54)
    tables: dict[str, list[dict[str, Any]]] = {smart.DIVING: [], smart.JUMPS: [], smart.GYM: []}
    for sport in smart.SPORTS:
        frames: dict[Split, list[dict[str, Any]]] = {"train": [], "test": []}
        for shot, row in zip(shots, rows, strict=True):
            if shot.action == sport.action:
                points = annotated(row, picked, OPENPOSE25, exact=shot.split == "test")
                flags = row["hidden"][list(picked)].astype(int)
                joints = [
                    [round(float(x), 2), round(float(y), 2), int(flag)]
                    for (x, y), flag in zip(points, flags, strict=True)
                ]
                frames[shot.split].append({"img_name": Path(shot.file).name, "joints": joints})
        clips = [list(clip) for clip in np.array_split(np.array(frames["train"], object), sport.train)]
        for number, clip in enumerate([*clips, frames["test"]]):
            held = [frame for frame in clip for _ in range(sport.step)]
            label = sport.codes[0] if sport.codes else "5253B"  # of a dive: any code will do
            tables[sport.file].append({"VideoName": f"{sport.action} {number}", "action_labels": label, "frames": held})
    (out / "annotations").mkdir(exist_ok=True)
    for file, table in tables.items():
        _put(out / "annotations" / file, json.dumps(table).encode())


def _write_skipose(out: Path, shots: list[Shot], rows: list[dict[str, np.ndarray]]) -> None:
    import h5py

    for split in ("train", "test"):
        chosen = [(shot, row) for shot, row in zip(shots, rows, strict=True) if shot.split == split]
        numbers = [[int(part.split("_")[1].split(".")[0]) for part in shot.file.split("/")[1:]] for shot, _ in chosen]
        points = [annotated(row, H36M17_IN_54, H36M17, exact=split == "test") for _, row in chosen]
        solid = [row["joints"][list(H36M17_IN_54)] for _, row in chosen]
        temporary = out / split / f"labels.{os.getpid()}"
        with h5py.File(temporary, "w") as file:
            for name, column in zip(("seq", "cam", "frame"), np.array(numbers).T, strict=True):
                file[name] = column
            file["2D"] = (np.array(points) / skipose.SIDE).reshape(-1, 34).astype(np.float32)
            file["3D"] = np.array([joints - joints[0] for joints in solid]).reshape(-1, 51).astype(np.float32)
        os.replace(temporary, out / split / "labels.h5")


def _write_test(out: Path, shots: list[Shot], rows: list[dict[str, np.ndarray]]) -> None:
    chosen = [(shot, row) for shot, row in zip(shots, rows, strict=True) if shot.split == "test"]
    joints = spin49(torch.from_numpy(np.stack([row["joints"] for _, row in chosen]))).numpy()
    pixels = spin49(torch.from_numpy(np.stack([row["pixels"] for _, row in chosen]))).numpy()
    keypoints = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1), np.float32)], -1)
    crops = np.stack([keypoint_crop(person, LOOSE) for person in keypoints])
    count = len(chosen)
    temporary = out / f"test.{os.getpid()}.npz"
    np.savez(
        temporary,
        imgname=np.array([shot.file for shot, _ in chosen]),
        center=crops[:, :2],
        scale=crops[:, 2] / PX,
        pose=np.stack([row["pose"] for _, row in chosen]),
        shape=np.stack([row["betas"] for _, row in chosen]),
        has_smpl=np.ones(count, np.float32),
        S=np.concatenate([joints[:, J24_PART], np.ones((count, 24, 1), np.float32)], -1),
        part=keypoints[:, J24_PART],
        openpose=keypoints[:, OPENPOSE_PART],
        action=np.array([shot.action for shot, _ in chosen]),
    )
    os.replace(temporary, out / "test.npz")
    _put(out / "test.txt", "".join(f"{shot.file}\t{shot.action}\n" for shot, _ in chosen).encode())


def write_keypoints(out: Path, layout: str) -> None:
    """Write train.npz: the keypoints of the images for training, as the layout's reader gives them."""
    people = open_people(f"{layout}:{out}@train")
    temporary = out / f"train.{os.getpid()}.npz"
    np.savez(
        temporary,
        imgname=np.array(people.images),
        openpose=people.keypoints[:, OPENPOSE_PART],
        part=people.keypoints[:, J24_PART],
    )
    os.replace(temporary, out / "train.npz")


def _put(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _require_h5py() -> None:
    try:
        import h5py  # noqa: F401
    except ImportError:
        raise UserError("Ski-Pose's layout is written with HDF5: pip install -c constraints.txt h5py") from None

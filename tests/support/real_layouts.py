"""SMART and Ski-Pose as published, a few people of each."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from factory.sources.smart import DIVING, GYM, JUMPS

# Human3.6M's 17 joints of a standing person, px of 256: torso 50 px, 150 px high, 40 px wide
SKIER = np.zeros((17, 2))
SKIER[:] = [128, 120]
SKIER[1], SKIER[4], SKIER[14], SKIER[11] = [118, 130], [138, 130], [118, 80], [138, 80]
SKIER[10], SKIER[3], SKIER[13], SKIER[16] = [128, 45], [128, 195], [148, 100], [108, 100]


def make_ski(folder: Path, pixels: bool = False) -> None:
    """labels.h5 as published: numbers as float columns of one, 2D in shares of the image, 3D in metres. pixels: the
    images are real ones, else empty files."""
    for split, count in (("train", 3), ("test", 1)):
        (folder / split).mkdir()
        with h5py.File(folder / split / "labels.h5", "w") as file:
            for name, start in (("seq", 0), ("cam", 2), ("frame", 100), ("subj", 1)):
                file[name] = np.arange(start, start + count, dtype=np.float64)[:, None]
            file["2D"] = np.tile(SKIER.reshape(1, 34) / 256, (count, 1))
            file["3D"] = np.tile(np.arange(51) / 50, (count, 1))
        for i in range(count):
            image = folder / split / f"seq_{i:03d}" / f"cam_{2 + i:02d}" / f"image_{100 + i:06d}.png"
            image.parent.mkdir(parents=True)
            if pixels:
                Image.new("RGB", (256, 256), (40, 50, 60 + i)).save(image)
            else:
                image.touch()


def athlete(flag: int = 0) -> list[list[int]]:
    """25 joints of OpenPose's order: torso 100 px, the box 60 x 120 px."""
    joints = [[400, 300, flag]] * 25
    joints[2], joints[5] = [380, 250, flag], [420, 250, flag]
    joints[9], joints[12] = [380, 350, flag], [420, 350, flag]
    joints[4], joints[11] = [370, 300, flag], [430, 360, flag]
    joints[0] = [400, 240, flag]
    return joints


def clip(name: str, label: str, frames: list[list[list[int]]]) -> dict:
    each = [
        {
            "img_name": f"{name}image{i}.jpg",
            "motion_label": label,
            "joints": joints,
            "bbox": [1, 2, 3, 4],
            "frame_id": i,
        }
        for i, joints in enumerate(frames)
    ]
    return {"VideoId": -1, "VideoName": name, "action_labels": label, "frames": each}


def make_smart(folder: Path, pixels: bool = False) -> None:
    """annotations/*.json as published, a few clips of each sport, one badminton clip among the jumpers. pixels: the
    images are real ones, else empty files."""
    gym = [clip(f"{label}-{i}", label, [athlete()]) for label in ("184", "vt", "271", "204") for i in range(4)]
    jumps = [clip(f"{label}{i}", f"{label}_{i}", [athlete()] * 2) for label in ("cgt", "tg") for i in range(3)]
    unseen = [[0, 0, 2]] * 22 + athlete()[:3]
    dives = [clip(f"dive{i}", "207C", [athlete(), *[athlete()] * 9, unseen, *[[]] * 9, athlete(1)]) for i in range(16)]
    (folder / "annotations").mkdir()
    for file, clips in ((GYM, gym), (JUMPS, [clip("b0", "ymq_1", [athlete()]), *jumps]), (DIVING, dives)):
        (folder / "annotations" / file).write_text(json.dumps(clips))
    (folder / "images").mkdir()
    for one in [*gym, *jumps, *dives]:
        for frame in one["frames"]:
            image = folder / "images" / frame["img_name"]
            if pixels:
                Image.new("RGB", (640, 480), (40, 50, 60)).save(image)
            else:
                image.touch()

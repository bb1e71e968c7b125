"""People of random poses in small images of noise, as an .npz of SPIN's layout: for trainings, which prove that they
learn, resume and refuse, never that they help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.rotations import axis_angle_to_matrix

SIDE = 72  # px of an image; the person's square is 60 px


def write_people(folder: Path, count: int, *, seed: int = 0, bodies: bool = True, **columns: np.ndarray) -> Path:
    """folder/people.npz of `count` people, each in an image of its own: keypoints of their projected bodies and, with
    `bodies`, those bodies. columns: replace some of the file's."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    pose = rng.normal(0, 0.2, (count, 72)).astype(np.float32)
    pose[:, 0] += np.pi
    betas = rng.normal(0, 0.5, (count, 10)).astype(np.float32)
    body = BodyModel("starter:body")
    joints = spin49(
        body.joints54(axis_angle_to_matrix(torch.from_numpy(pose).view(-1, 24, 3)), torch.from_numpy(betas))
    )
    camera = torch.tensor([[0.8, 0.0, 0.2]]).expand(count, 3)
    points = project_on_crop(joints, camera).numpy() * 30 + SIDE / 2
    part = np.concatenate([points[:, 25:], np.ones((count, 24, 1))], 2).astype(np.float32)
    names = [f"{i}.png" for i in range(count)]
    for i, name in enumerate(names):
        pixels = rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
        for x, y in part[i, :, :2].round().astype(int):  # something that the keypoints can be learnt from
            pixels[max(y - 2, 0) : y + 2, max(x - 2, 0) : x + 2] = 255
        Image.fromarray(pixels).save(folder / name)
    data = {
        "imgname": np.array(names),
        "center": np.full((count, 2), SIDE / 2, np.float32),
        "scale": np.full(count, 60 / 200, np.float32),
        "part": part,
    }
    data |= {"pose": pose, "shape": betas} if bodies else {}
    path = folder / "people.npz"
    np.savez(path, **(data | columns))
    return path

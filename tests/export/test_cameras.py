"""In every export a person's weak-perspective camera, the camera of the whole image, its translation and its joints
agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from factory.geometry.body import BodyModel, spin49
from factory.weights.locate import resolve
from tests.support.exports import people, projected, weak_to_transl


class Rows(NamedTuple):
    joints3d: np.ndarray  # (M, J, 3) m, camera frame
    joints2d: np.ndarray  # (M, J, 2) px
    K: np.ndarray
    transl: np.ndarray
    camera: np.ndarray  # (s, tx, ty) on the square box
    center: np.ndarray
    side: np.ndarray  # px


def tables(folder: Path, names: str) -> list[dict]:
    return [dict(np.load(path, allow_pickle=True)) for path in sorted(folder.glob(names))]


def stack(parts: list[dict], name: str) -> np.ndarray:
    return np.concatenate([part[name] for part in parts])


def spin(folder: Path) -> Rows:
    parts = tables(folder, "*.npz")
    get = {name: stack(parts, name) for name in parts[0]}
    return Rows(
        get["S"][..., :3], get["part"][..., :2], get["cam_int"], get["trans_cam"], get["camera"], get["center"],
        200 * get["scale"],
    )  # fmt: skip


def hmr2(folder: Path) -> Rows:
    entries = [entry for _, entry in people(folder)]
    get = {
        name: np.stack([entry[name] for entry in entries])
        for name in ("keypoints_2d", "keypoints_3d", "center", "scale")
    }
    extra = {name: np.stack([entry["extra_info"][name] for entry in entries]) for name in ("K", "transl", "camera")}
    return Rows(
        get["keypoints_3d"][..., :3], get["keypoints_2d"][..., :2], extra["K"], extra["transl"], extra["camera"],
        get["center"], 200 * get["scale"].max(1),
    )  # fmt: skip


def bedlam(folder: Path, pick: Callable = lambda joints: joints[:, :24]) -> Rows:
    parts = tables(folder, "*.npz")
    get = {name: stack(parts, name) for name in parts[0]}
    pose, shape = torch.from_numpy(get["pose_cam"]), torch.from_numpy(get["shape"])
    transl = get["trans_cam"] + get["cam_ext"][:, :3, 3]
    with torch.inference_mode():
        joints = BodyModel(resolve("starter:body"))(pose[:, :3], pose[:, 3:], shape, torch.from_numpy(transl))[1]
    return Rows(
        pick(joints).numpy(), get["gtkps"][..., :2], get["cam_int"], transl, get["camera"], get["center"],
        200 * get["scale"],
    )  # fmt: skip


def camerahmr(folder: Path) -> Rows:
    return bedlam(folder, lambda joints: spin49(joints)[:, :44])


def humandata(folder: Path) -> Rows:
    parts = tables(folder, "preprocessed_datasets/*.npz")
    known = parts[0]["keypoints2d_mask"] > 0
    boxes, kp2d, kp3d = (stack(parts, name) for name in ("bbox_xywh", "keypoints2d", "keypoints3d"))
    misc, smpl = ([part[name].item() for part in parts] for name in ("misc", "smpl"))
    return Rows(
        kp3d[:, known, :3], kp2d[:, known, :2], stack(misc, "K"), stack(smpl, "transl"), stack(misc, "camera"),
        boxes[:, :2] + boxes[:, 2:4] / 2, boxes[:, 2:4].max(1),
    )  # fmt: skip


@pytest.mark.parametrize("read", [spin, hmr2, bedlam, camerahmr, humandata], ids=lambda read: read.__name__)
def test_joints_project_to_within_half_a_pixel(exported, read: Callable[[Path], Rows]) -> None:
    rows = read(exported(read.__name__))
    assert len(rows.camera) >= 200
    assert np.abs(projected(rows.K, rows.joints3d) - rows.joints2d).max() < 0.5
    transl = weak_to_transl(rows.camera, rows.center, rows.side, rows.K)
    np.testing.assert_allclose(transl, rows.transl, rtol=1e-4, atol=1e-4)
    moved = rows.joints3d + (transl - rows.transl)[:, None]
    assert np.abs(projected(rows.K, moved) - rows.joints2d).max() < 0.5


def test_the_weak_camera_sees_the_body_on_the_crop(exported) -> None:
    """On SPIN's crop of 224 px with its focal length of 5000: within a pixel, for the perspective is another."""
    rows = spin(exported("spin"))
    body = rows.joints3d - rows.transl[:, None]
    s, tx, ty = rows.camera.T
    t = np.stack([tx, ty, 2 * 5000 / (224 * s + 1e-9)], 1)
    K = np.tile(np.array([[5000.0, 0, 112], [0, 5000, 112], [0, 0, 1]]), (len(s), 1, 1))
    on_crop = projected(K, body + t[:, None])
    crop = (rows.joints2d - rows.center[:, None]) * (224 / rows.side)[:, None, None] + 112
    assert np.abs(on_crop - crop).max() < 3

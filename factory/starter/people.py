"""Who is in the rendered world's cache, where, and with which body: what estimators are trained and measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from factory.geometry.crops import square_crop
from factory.geometry.rotations import axis_angle_to_matrix
from factory.starter.cache import Cache

CROP_SCALE = 1.2  # as the estimate stage cuts
MIN_SHARE = 0.3  # of the joints must be visible


class Skeleton:
    """The 24 joints of an SMPL-format body by forward kinematics alone: no vertices, so a loss is cheap."""

    def __init__(self, path: str, device: str | torch.device = "cpu") -> None:
        with np.load(path, allow_pickle=False) as body:
            regressor = torch.from_numpy(np.asarray(body["J_regressor"], np.float64))
            template = regressor @ torch.from_numpy(np.asarray(body["v_template"], np.float64))
            directions = torch.from_numpy(np.asarray(body["shapedirs"], np.float64)[:, :, :10])
            self.parents = [int(p) for p in body["kintree_table"][0]]
        self.template = template.float().to(device)  # (24, 3) m
        self.directions = torch.einsum("jv,vcb->jcb", regressor, directions).float().to(device)  # (24, 3, 10)

    def joints(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """rotations (N, 24, 3, 3), betas (N, 10) -> (N, 24, 3) m, before the translation."""
        rest = self.template + torch.einsum("jcb,nb->njc", self.directions, betas)
        turned, placed = [rotations[:, 0]], [rest[:, 0]]
        for joint in range(1, len(self.parents)):
            parent = self.parents[joint]
            bone = (rest[:, joint] - rest[:, parent])[:, :, None]
            placed.append(placed[parent] + (turned[parent] @ bone)[:, :, 0])
            turned.append(turned[parent] @ rotations[:, joint])
        return torch.stack(placed, 1)


@dataclass
class People:
    """Every person of a cache of whom at least MIN_SHARE is visible. M people."""

    image: np.ndarray  # (M,) index of the image
    slot: np.ndarray  # (M,) which person of it
    crop: np.ndarray  # (M, 3) centre x, centre y, side px, from the visible pixels
    share: np.ndarray  # (M,) of the joints that are visible
    pixels: np.ndarray  # (M, 24, 2) px, projected joints
    rotations: np.ndarray  # (M, 24, 3, 3), camera frame
    betas: np.ndarray  # (M, 10)
    hard: np.ndarray  # (M,) bool: does something far from standing

    def __len__(self) -> int:
        return len(self.image)


def people(cache: Cache, skeleton: Skeleton) -> People:
    count = np.asarray(cache.count)
    image, slot = np.nonzero(np.arange(cache.pose.shape[1]) < count[:, None])
    rotations = axis_angle_to_matrix(torch.from_numpy(cache.pose[image, slot].reshape(-1, 24, 3))).numpy()
    betas = cache.betas[image, slot]
    joints = skeleton.joints(torch.from_numpy(rotations), torch.from_numpy(betas)).numpy()
    homogeneous = np.einsum("nij,nkj->nki", cache.K[image], joints + cache.transl[image, slot][:, None])
    pixels = homogeneous[..., :2] / np.maximum(homogeneous[..., 2:], 0.05)
    crop, share = np.zeros((len(image), 3), np.float32), np.zeros(len(image), np.float32)
    size = cache.instances.shape[1]
    for some in np.array_split(np.arange(len(image)), len(image) // 256 + 1):
        mask = np.asarray(cache.instances)[image[some]] == slot[some, None, None] + 1
        for i, one in zip(some, mask, strict=True):
            if one.sum() >= 16:
                rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
                crop[i] = square_crop(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]), CROP_SCALE)
        grown = F.pad(torch.from_numpy(mask).float(), (4, 4, 4, 4))  # a joint may lie just beside thin limbs
        near = F.max_pool2d(grown, 5, 1).numpy()
        x, y = np.moveaxis((np.floor(pixels[some]).astype(int) + 2).clip(0, size + 3), -1, 0)
        share[some] = near[np.arange(len(some))[:, None], y, x].mean(1) * (crop[some, 2] > 0)
    keep = share >= MIN_SHARE
    return People(
        image[keep],
        slot[keep],
        crop[keep],
        share[keep],
        pixels[keep].astype(np.float32),
        rotations[keep].astype(np.float32),
        betas[keep].astype(np.float32),
        np.asarray(cache.hard)[image[keep]],
    )

"""The people of a cache of scenes who are visible enough to be learnt from and measured on."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn import functional as F

from factory.geometry.body import BodyModel
from factory.geometry.crops import square_crop
from factory.geometry.rotations import axis_angle_to_matrix
from factory.starter.world.cache import Cache

CROP_SCALE = 1.2  # side of the crop over the longer side of the person's box, as the estimate stage cuts
LEAST_VISIBLE = 0.3  # share of the joints
LEAST_PIXELS = 16  # of a person's mask
REACH = 2  # px: a joint this near to the mask counts as visible, because it may lie just beside a thin limb


@dataclass
class VisiblePeople:
    """Every person of a cache of whom at least LEAST_VISIBLE is visible. M people."""

    image: np.ndarray  # (M,) row of the scene in the cache
    slot: np.ndarray  # (M,) index of the person within the scene
    crop: np.ndarray  # (M, 3) centre x, centre y, side px, from the visible pixels
    share: np.ndarray  # (M,) of the joints that are visible
    pixels: np.ndarray  # (M, 24, 2) px, projected joints
    rotations: np.ndarray  # (M, 24, 3, 3), camera frame
    betas: np.ndarray  # (M, 10)
    hard: np.ndarray  # (M,) bool: the action's poses are far from standing

    def __len__(self) -> int:
        return len(self.image)

    def take(self, rows: np.ndarray) -> VisiblePeople:
        """Some of the people, by their numbers."""
        return VisiblePeople(*(getattr(self, each.name)[rows] for each in fields(self)))


def visible_people(cache: Cache, body: BodyModel) -> VisiblePeople:
    """The people of the cache, scene by scene. body: with which the scenes were rendered."""
    count = np.asarray(cache.count)
    image, slot = np.nonzero(np.arange(cache.pose.shape[1]) < count[:, None])
    rotations = axis_angle_to_matrix(torch.from_numpy(cache.pose[image, slot].reshape(-1, 24, 3))).numpy()
    betas = cache.betas[image, slot]
    joints = body.skeleton(torch.from_numpy(rotations), torch.from_numpy(betas)).numpy()
    homogeneous = np.einsum("nij,nkj->nki", cache.K[image], joints + cache.transl[image, slot][:, None])
    pixels = homogeneous[..., :2] / np.maximum(homogeneous[..., 2:], 0.05)
    crop, share = np.zeros((len(image), 3), np.float32), np.zeros(len(image), np.float32)
    size, border = cache.instances.shape[1], 2 * REACH
    for rows in np.array_split(np.arange(len(image)), len(image) // 256 + 1):
        masks = np.asarray(cache.instances)[image[rows]] == slot[rows, None, None] + 1
        for i, mask in zip(rows, masks, strict=True):
            if mask.sum() >= LEAST_PIXELS:
                lines, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                crop[i] = square_crop(np.array([columns[0], lines[0], columns[-1] + 1, lines[-1] + 1]), CROP_SCALE)
        padded = F.pad(torch.from_numpy(masks).float(), (border,) * 4)
        near = F.max_pool2d(padded, 2 * REACH + 1, 1).numpy()  # (rows, size + border, size + border)
        x, y = np.moveaxis((np.floor(pixels[rows]).astype(int) + REACH).clip(0, size + border - 1), -1, 0)
        share[rows] = near[np.arange(len(rows))[:, None], y, x].mean(1) * (crop[rows, 2] > 0)
    keep = share >= LEAST_VISIBLE
    return VisiblePeople(
        image[keep],
        slot[keep],
        crop[keep],
        share[keep],
        pixels[keep].astype(np.float32),
        rotations[keep].astype(np.float32),
        betas[keep].astype(np.float32),
        np.asarray(cache.hard)[image[keep]],
    )

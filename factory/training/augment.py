"""Augmentation of images in batches, on the device: cuts that are turned and mirrored, poor quality, occluders."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from factory.training.randomness import torch_generator
from factory.training.tensors import to_device


def warp(images: Tensor, matrix: Tensor, size: int, mode: str = "bilinear", padding: str = "zeros") -> Tensor:
    """images (N, C, H, W), matrix (N, 2, 3) from output to input coordinates, both -1 ... 1 -> (N, C, size, size).

    The grid is made without `affine_grid`, whose batched product took half the time of drawing a batch on a CPU.
    """
    line = (2 * torch.arange(size, device=images.device) + 1) / size - 1
    x, y = line[None, None, :, None], line[None, :, None, None]
    column = matrix[:, None, None]
    grid = column[..., 0] * x + column[..., 1] * y + column[..., 2]
    return nn.functional.grid_sample(images, grid, mode, padding, align_corners=False)


def cut_turned(images: Tensor, crop: Tensor, angle: Tensor, mirror: Tensor, size: int) -> Tensor:
    """images (N, 3, H, W), crop (N, 3) = centre x, centre y, side px, angle (N,) radians, mirror (N,) +-1 ->
    (N, 3, size, size), black outside the image.

    Crop coordinates u in [-1, 1] map to the image as centre + side / 2 * R(angle) diag(mirror, 1) u.
    """
    half = to_device(np.array([images.shape[3], images.shape[2]], np.float32) / 2)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos * mirror, -sin], -1), torch.stack([sin * mirror, cos], -1)], 1)
    scale, shift = crop[:, 2:] / 2 / half, crop[:, :2] / half - 1
    return warp(images, torch.cat([turn * scale[:, :, None], shift[:, :, None]], 2), size)


def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
    """images (N, 3, H, W) in [0, 1] -> the same with the faults of a diffusion model's images.

    The colours of all are shifted; half of them are reduced to a lower resolution, and half (another) get noise.
    """
    count, (height, width) = len(images), images.shape[2:]

    def random_rows(share: float) -> Tensor:
        return to_device(np.flatnonzero(rng.random(count) < share))

    gain = to_device(rng.uniform(0.7, 1.3, (count, 1, 1, 1)) * rng.uniform(0.9, 1.1, (count, 3, 1, 1)))
    shift = to_device(rng.uniform(-0.1, 0.1, (count, 1, 1, 1)))
    images = ((images - 0.5) * gain + 0.5 + shift).clamp(0, 1)
    for rows, factor in zip(random_rows(0.5).chunk(4), rng.uniform(0.3, 0.9, 4), strict=False):
        size = (round(height * factor), round(width * factor))
        small = nn.functional.interpolate(images[rows], size=size, mode="bilinear", antialias=True)
        images[rows] = nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)
    noisy = random_rows(0.5)
    generator = torch_generator(rng, images.device)
    noise = torch.randn(len(noisy), *images.shape[1:], generator=generator, device=images.device)
    noise *= to_device(rng.uniform(0, 0.06, (len(noisy), 1, 1, 1)))
    images[noisy] = (images[noisy] + noise).clamp(0, 1)
    return images


def erase(images: Tensor, rng: np.random.Generator, share: float = 0.15) -> Tensor:
    """Cover a rectangle of one colour in a `share` of the square images (N, 3, S, S): an occluder of unknown kind."""
    count, size = len(images), images.shape[-1]
    sides = rng.integers(size // 8, size // 2, (count, 2)) * (rng.random((count, 1)) < share)
    corner = np.floor(rng.random((count, 2)) * (size - sides))
    low, high = to_device(corner)[..., None], to_device(corner + sides)[..., None]
    line = torch.arange(size, device=images.device)
    along = (line >= low) & (line < high)  # (N, 2, S)
    colour = to_device(rng.random((count, 3, 1, 1)))
    return torch.where((along[:, 0, :, None] & along[:, 1, None, :])[:, None], colour, images)

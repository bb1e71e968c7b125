"""The device a training computes on, and the way of its data there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def training_device() -> torch.device:
    """The GPU where there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bfloat16_is_fast() -> bool:
    """Whether the hardware computes in bfloat16. A processor without AVX-512 emulates it, ten times slower than it
    computes in float32."""
    return torch.cuda.is_available() or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def to_device(array: np.ndarray, device: torch.device | None = None) -> Tensor:
    """The array as a tensor on `device` (default: the training's), float64 as float32. The copy is not waited for."""
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    return torch.from_numpy(array).to(device or training_device(), non_blocking=True)


def images_to_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [-1, 1], as diffusion models take them."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


class ImageRows:
    """Images (N, H, W, 3) uint8, taken by row. A GPU holds all of them; without one they stay where they are."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = to_device(np.array(images)) if torch.cuda.is_available() else images

    def __call__(self, rows: np.ndarray) -> Tensor:
        """rows (B,) int -> (B, 3, H, W) float32 in [0, 1]."""
        if isinstance(self.images, Tensor):
            picked = self.images[to_device(rows)]
        else:
            picked = torch.from_numpy(np.stack([self.images[row] for row in rows]))
        return picked.permute(0, 3, 1, 2) / 255

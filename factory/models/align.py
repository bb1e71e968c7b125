"""Bodies moved and scaled in the image until each covers its person's mask best. Pose and shape stay.

An estimator reads the camera off one small crop, to a few pixels; a mask is finer. Tried are the SCALES, and every
shift by whole pixels of up to REACH of the image. What hides a body says nothing about it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from factory.models.body import BodyModel
from factory.models.camera import full_image_K, weak_to_transl
from factory.models.rasteriser import rasterise

SCALES = (1.0, 0.9, 0.95, 1.05, 1.1)  # what the estimator says first: it stays where none is better
REACH = 0.03
BODY = ("global_orient", "body_pose", "betas", "camera", "crop")


def align(
    bodies: list[dict[str, np.ndarray]], masks: np.ndarray, hidden: np.ndarray, body: BodyModel, device: torch.device
) -> list[dict[str, np.ndarray]]:
    """One body per person of an image, as an estimator of crops gives it (see hmr_choice.HMR) -> the same with another
    `camera`.

    masks (N, H, W) bool: of each person; hidden (H, W) bool: where objects are, which may hide people.
    """
    if not bodies:
        return []
    count, height, width = masks.shape
    reach = round(REACH * max(height, width))
    global_orient, body_pose, betas, camera, crop = (
        torch.from_numpy(np.stack([one[name] for one in bodies])).to(device) for name in BODY
    )
    K = torch.from_numpy(full_image_K(width, height)).to(device)
    seen = torch.from_numpy(masks).to(device)
    visible = ~torch.from_numpy(hidden).to(device) & (seen | ~seen.any(0))  # nor what is behind somebody else
    overlaps, cameras = [], []
    with torch.inference_mode():
        for scale in SCALES:
            scaled = camera * camera.new_tensor([scale, 1, 1])
            vertices, _ = body(global_orient, body_pose, betas, weak_to_transl(scaled, crop, K))
            drawn = rasterise(vertices, body.faces, K, height, width).face >= 0
            overlaps.append(shifted_iou(drawn, seen, visible, reach))
            cameras.append(scaled)
        overlap = torch.stack(overlaps, 1)  # (N, scales, shifts down, shifts right)
    as_given = overlap[:, 0, reach, reach]
    best, place = overlap.flatten(1).max(1)
    chosen, down, right = torch.unravel_index(place, overlap.shape[1:])
    moved = torch.stack(cameras, 1)[torch.arange(count), chosen]
    pixels = torch.stack([right - reach, down - reach], 1)
    moved[:, 1:] += 2 * pixels / (crop[:, 2:] * moved[:, :1])
    best_camera = torch.where((best > as_given)[:, None], moved, camera).cpu().numpy()
    return [{**one, "camera": new} for one, new in zip(bodies, best_camera, strict=True)]


def shifted_iou(drawn: Tensor, masks: Tensor, visible: Tensor, reach: int) -> Tensor:
    """drawn, masks, visible (N, H, W) bool -> (N, D, D) of D = 2 reach + 1: the overlap (IoU) of the mask and the
    visible part of what is drawn, for each shift of that down (first) and to the right, both from -reach px to reach.
    """
    size = (drawn.shape[1] + reach, drawn.shape[2] + reach)  # room for what the transform would wrap around
    shape = torch.fft.rfft2(drawn.double(), size).conj()

    def common(area: Tensor) -> Tensor:
        """Pixels, so whole numbers."""
        every = torch.fft.irfft2(torch.fft.rfft2(area.double(), size) * shape, size).round()
        return every.roll((reach, reach), (1, 2))[:, : 2 * reach + 1, : 2 * reach + 1]

    both = common(masks & visible)
    either = common(visible) + (masks & visible).sum((1, 2))[:, None, None] - both
    return both / either.clamp(min=1)

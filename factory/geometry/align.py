"""Bodies moved and scaled in the image until each covers the mask of its person best. Pose and shape stay.

An estimator reads the camera off one small crop, to a few pixels; a mask is finer. All SCALES are tried, and every
shift by whole pixels of up to FARTHEST of the image's longer side. Pixels covered by an occluder are left out of the
overlap, because the body may or may not continue behind it. A body that overlaps no better elsewhere keeps its camera.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from factory.geometry.body import BodyModel
from factory.geometry.placing import CroppedBodies, place_bodies
from factory.geometry.rasteriser import rasterise

SCALES = (1.0, 0.9, 0.95, 1.05, 1.1)
FARTHEST = 0.03
# The IoU that a shift by FARTHEST, or the largest of SCALES, must gain; less for less: of nearly equal places the
# nearest is taken.
COST = 0.005


def aligned_cameras(
    bodies: CroppedBodies, K: np.ndarray, masks: np.ndarray, hidden: np.ndarray, body: BodyModel
) -> np.ndarray:
    """(N, 3) float32: the weak-perspective cameras (s, tx, ty) that lay each body over the mask of its person.

    K (3, 3) px: the camera of the whole image. masks (N, H, W) bool: of each person. hidden (H, W) bool: the pixels of
    things that may hide them. body: the model whose outline is drawn, on its device.
    """
    if not len(masks):
        return bodies.camera
    count, height, width = masks.shape
    reach = round(FARTHEST * max(height, width))
    device = body.device
    camera, crop = (torch.from_numpy(values).to(device) for values in (bodies.camera, bodies.crop))
    seen = torch.from_numpy(masks).to(device)
    visible = ~torch.from_numpy(hidden).to(device) & (seen | ~seen.any(0))  # another person hides as an object does

    def outlines(camera: Tensor) -> Tensor:
        placed = place_bodies(bodies, K, body, camera)
        return rasterise(placed.vertices, body.faces, placed.K, height, width).face >= 0

    with torch.inference_mode():
        scaled = torch.stack([camera * camera.new_tensor([scale, 1, 1]) for scale in SCALES], 1)
        drawn = torch.stack([outlines(cameras) for cameras in scaled.unbind(1)], 1)
        overlap = shifted_iou(drawn, seen[:, None], visible[:, None], reach)  # (N, scales, shifts down, shifts right)
        far = torch.arange(-reach, reach + 1, device=device).square() / max(reach, 1) ** 2
        larger = ((torch.tensor(SCALES, device=device) - 1) / (max(SCALES) - 1)).square()
        worth = overlap - COST * (larger[:, None, None] + far[:, None] + far)
        scale, down, right = torch.unravel_index(worth.flatten(1).argmax(1), overlap.shape[1:])
        moved = scaled[torch.arange(count, device=device), scale]
        moved[:, 1:] += 2 * (torch.stack([right, down], 1) - reach) / (crop[:, 2:] * moved[:, :1])
        # In perspective a moved body also turns a little, and what the frame had cut off comes in.
        better = shifted_iou(outlines(moved), seen, visible, 0)[:, 0, 0] > overlap[:, 0, reach, reach]
    return torch.where(better[:, None], moved, camera).cpu().numpy()


def shifted_iou(drawn: Tensor, masks: Tensor, visible: Tensor, reach: int) -> Tensor:
    """drawn, masks, visible (..., H, W) bool -> (..., D, D), D = 2 reach + 1: the overlap (IoU) of the mask with the
    visible part of the drawing, for each shift of the drawing down (first axis) and to the right, -reach ... reach px.
    """
    size = (drawn.shape[-2] + reach, drawn.shape[-1] + reach)  # the Fourier transform is periodic: a margin of zeros
    shape = torch.fft.rfft2(drawn.double(), size).conj()

    def common(area: Tensor) -> Tensor:
        """How many pixels of the area each shifted drawing covers: whole numbers, up to the transform's rounding."""
        every = torch.fft.irfft2(torch.fft.rfft2(area.double(), size) * shape, size).round()
        return every.roll((reach, reach), (-2, -1))[..., : 2 * reach + 1, : 2 * reach + 1]

    both = common(masks & visible)
    either = common(visible) + (masks & visible).sum((-2, -1))[..., None, None] - both
    return both / either.clamp(min=1)

"""Bodies moved and scaled in the image until each covers its person's mask best. Pose and shape stay.

An estimator reads the camera off one small crop, to a few pixels; a mask is finer. Tried are the SCALES, and every
shift by whole pixels of up to REACH of the image's longer side. What hides a body says nothing about it. A body stays
where it is unless it then covers more.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from factory.geometry.body import BodyModel
from factory.geometry.camera import full_image_K, weak_to_transl
from factory.geometry.rasteriser import rasterise

SCALES = (1.0, 0.9, 0.95, 1.05, 1.1)
REACH = 0.03
WORTH = 0.005  # IoU that a shift by REACH has to gain, or the end of SCALES: of nearly equal places the nearest
BODY = ("global_orient", "body_pose", "betas", "camera", "crop")


def align(
    bodies: list[dict[str, np.ndarray]], masks: np.ndarray, hidden: np.ndarray, body: BodyModel, device: torch.device
) -> list[dict[str, np.ndarray]]:
    """One body per person of an image, as an estimator of crops gives it (see answers.HMR) -> the same with another
    `camera`.

    masks (N, H, W) bool: of each person; hidden (H, W) bool: where something is that may hide them. body: the model
    whose outline is drawn, on `device`.
    """
    if not bodies:
        return []
    count, height, width = masks.shape
    reach = round(REACH * max(height, width))
    global_orient, body_pose, betas, camera, crop = (
        torch.from_numpy(np.stack([one[name] for one in bodies])).to(device) for name in BODY
    )
    K = torch.from_numpy(bodies[0].get("K", full_image_K(width, height))).to(device)
    seen = torch.from_numpy(masks).to(device)
    visible = ~torch.from_numpy(hidden).to(device) & (seen | ~seen.any(0))  # nor what is behind somebody else

    def outlines(camera: Tensor) -> Tensor:
        vertices, _ = body(global_orient, body_pose, betas, weak_to_transl(camera, crop, K))
        return rasterise(vertices, body.faces, K, height, width).face >= 0

    with torch.inference_mode():
        scaled = torch.stack([camera * camera.new_tensor([scale, 1, 1]) for scale in SCALES], 1)
        drawn = torch.stack([outlines(each) for each in scaled.unbind(1)], 1)
        overlap = shifted_iou(drawn, seen[:, None], visible[:, None], reach)  # (N, scales, shifts down, shifts right)
        far = torch.arange(-reach, reach + 1, device=device).square() / max(reach, 1) ** 2
        larger = ((torch.tensor(SCALES, device=device) - 1) / (max(SCALES) - 1)).square()
        worth = overlap - WORTH * (larger[:, None, None] + far[:, None] + far)
        scale, down, right = torch.unravel_index(worth.flatten(1).argmax(1), overlap.shape[1:])
        moved = scaled[torch.arange(count, device=device), scale]
        moved[:, 1:] += 2 * (torch.stack([right, down], 1) - reach) / (crop[:, 2:] * moved[:, :1])
        # In perspective a moved body also turns a little, and what the frame had cut off comes in.
        better = shifted_iou(outlines(moved), seen, visible, 0)[:, 0, 0] > overlap[:, 0, reach, reach]
    chosen = torch.where(better[:, None], moved, camera).cpu().numpy()
    return [{**one, "camera": new} for one, new in zip(bodies, chosen, strict=True)]


def shifted_iou(drawn: Tensor, masks: Tensor, visible: Tensor, reach: int) -> Tensor:
    """drawn, masks, visible (..., H, W) bool -> (..., D, D) of D = 2 reach + 1: the overlap (IoU) of the mask and the
    visible part of what is drawn, for each shift of that down (first) and to the right, both from -reach px to reach.
    """
    size = (drawn.shape[-2] + reach, drawn.shape[-1] + reach)  # room for what the transform would wrap around
    shape = torch.fft.rfft2(drawn.double(), size).conj()

    def common(area: Tensor) -> Tensor:
        """Pixels, so whole numbers."""
        every = torch.fft.irfft2(torch.fft.rfft2(area.double(), size) * shape, size).round()
        return every.roll((reach, reach), (-2, -1))[..., : 2 * reach + 1, : 2 * reach + 1]

    both = common(masks & visible)
    either = common(visible) + (masks & visible).sum((-2, -1))[..., None, None] - both
    return both / either.clamp(min=1)

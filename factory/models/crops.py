"""Square crops of people: from a detector's box or from keypoints, cut out and normalised for a network."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as SPIN
TORSOS = ((33, 27), (34, 28), (2, 9), (5, 12))  # shoulder and hip, right and left, of both halves of SPIN-49
TORSO = 3.0  # a crop's side over the length of the torso, as SPIN's training data


def square_crop(box: np.ndarray, scale: float) -> np.ndarray:
    """box (4,) = x0, y0, x1, y1 px -> (3,) float32 = centre x, centre y, side px: scale times the longer side."""
    x0, y0, x1, y1 = (float(v) for v in box)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, scale * max(x1 - x0, y1 - y0, 1.0)], np.float32)


def keypoint_crop(keypoints: np.ndarray, scale: float) -> np.ndarray:
    """keypoints (49, 3) px and confidence, 0 = unknown, SPIN-49 -> (3,) float32, as `square_crop` of the box around
    those that are known; larger where TORSO times the mean distance from shoulder to hip asks for it.

    ValueError when none is known.
    """
    known = keypoints[keypoints[:, 2] > 0, :2]
    if not len(known):
        raise ValueError("no keypoint is known")
    crop = square_crop(np.concatenate([known.min(0), known.max(0)]), scale)
    pairs = [(keypoints[shoulder], keypoints[hip]) for shoulder, hip in TORSOS]
    torso = [np.linalg.norm(s[:2] - h[:2]) for s, h in pairs if s[2] > 0 and h[2] > 0]
    if torso:
        crop[2] = max(crop[2], TORSO * float(np.mean(torso)))
    return crop


def cut(image: np.ndarray, crop: np.ndarray, size: int) -> np.ndarray:
    """image (H, W, 3) uint8 -> (size, size, 3) uint8: the crop (3,), black outside the image, anti-aliased."""
    x, y, side = (float(v) for v in crop)
    left, top = x - side / 2, y - side / 2
    height, width = image.shape[:2]
    before = (max(0, int(np.ceil(-top))), max(0, int(np.ceil(-left))))
    after = (max(0, int(np.ceil(top + side - height))), max(0, int(np.ceil(left + side - width))))
    padded = np.pad(image, (*zip(before, after, strict=True), (0, 0)))
    left, top = left + before[1], top + before[0]
    box = (left, top, min(left + side, padded.shape[1]), min(top + side, padded.shape[0]))
    return np.asarray(Image.fromarray(padded).resize((size, size), Image.Resampling.BILINEAR, box=box))


def normalise(crops: np.ndarray) -> Tensor:
    """(N, r, r, 3) uint8 RGB -> (N, 3, r, r) float32, ImageNet-normalised."""
    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

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


def whole_pixels(crop: np.ndarray) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """The box that SPIN's own code cuts for a crop (3,): its edges without their fractions (utils/imutils.py: `crop`,
    whose `transform` ends in `astype(int)`). -> (left, top, width, height) px, and the crop (3,) that this box is.

    Width and height may differ by 1 px; the side is their mean.
    """
    x, y, side = (float(v) for v in crop)
    left, top = int(x - side / 2), int(y - side / 2)
    width, height = max(int(x + side / 2) - left, 1), max(int(y + side / 2) - top, 1)
    exact = np.array([left + width / 2, top + height / 2, (width + height) / 2], np.float32)
    return (left, top, width, height), exact


def cut(image: np.ndarray, crop: np.ndarray, size: int) -> np.ndarray:
    """image (H, W, 3) uint8 -> (size, size, 3) uint8: the crop (3,), black outside the image, anti-aliased."""
    x, y, side = (float(v) for v in crop)
    return cut_box(image, (x - side / 2, y - side / 2, side, side), size)


def cut_box(image: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """As `cut`. box: left, top, width, height px."""
    left, top, across, down = box
    height, width = image.shape[:2]
    before = (max(0, int(np.ceil(-top))), max(0, int(np.ceil(-left))))
    after = (max(0, int(np.ceil(top + down - height))), max(0, int(np.ceil(left + across - width))))
    padded = np.pad(image, (*zip(before, after, strict=True), (0, 0)))
    left, top = left + before[1], top + before[0]
    area = (left, top, min(left + across, padded.shape[1]), min(top + down, padded.shape[0]))
    return np.asarray(Image.fromarray(padded).resize((size, size), Image.Resampling.BILINEAR, box=area))


def normalise(crops: np.ndarray) -> Tensor:
    """(N, r, r, 3) uint8 RGB -> (N, 3, r, r) float32, ImageNet-normalised."""
    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

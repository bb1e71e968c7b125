"""Square crops of people: from a detector's box or from keypoints, cut out and normalised for a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from factory.geometry.joints import J24_TORSOS, OPENPOSE_TORSOS

if TYPE_CHECKING:
    from torch import Tensor

LOOSE = 1.2  # a crop is so much larger than the box around the person in it
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as SPIN
TORSOS_PER_SIDE = 3.0  # a crop's side over the length of the torso, as in SPIN's training data and the paper's (B)


def square_crop(box: np.ndarray, scale: float) -> np.ndarray:
    """box (4,) = x0, y0, x1, y1 px -> (3,) float32 = centre x, centre y, side px: scale times the longer side."""
    x0, y0, x1, y1 = (float(v) for v in box)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, scale * max(x1 - x0, y1 - y0, 1.0)], np.float32)


def torso_length(points: np.ndarray, torsos: Sequence[tuple[int, int]]) -> np.ndarray:
    """points (..., J, 2) px; torsos: at least one pair (shoulder, hip) -> (...): their mean distance, px."""
    shoulders, hips = np.transpose(torsos)
    return np.linalg.norm(points[..., shoulders, :] - points[..., hips, :], axis=-1).mean(-1)


def person_crop(
    points: np.ndarray, known: np.ndarray, torsos: Sequence[tuple[int, int]], scale: float
) -> tuple[float, float, float]:
    """points (J, 2) px; known (J,) bool; torsos: pairs (shoulder, hip) -> centre x, centre y, side px.

    The crop is `square_crop` of the box around the known points; it is as large as TORSOS_PER_SIDE torsos where that is
    more. A torso counts where both its points are known. ValueError when no point is known.
    """
    if not known.any():
        raise ValueError("no keypoint is known")
    (x0, y0), (x1, y1) = points[known].min(0).tolist(), points[known].max(0).tolist()
    side = scale * max(x1 - x0, y1 - y0, 1.0)
    whole = [pair for pair in torsos if known[list(pair)].all()]
    if whole:
        side = max(side, TORSOS_PER_SIDE * float(torso_length(points, whole)))
    return (x0 + x1) / 2, (y0 + y1) / 2, side


def keypoint_crop(keypoints: np.ndarray, scale: float) -> np.ndarray:
    """keypoints (49, 3) px and confidence, 0 = unknown, SPIN-49 -> (3,) float32, as `person_crop`."""
    torsos = (*J24_TORSOS, *OPENPOSE_TORSOS)
    return np.array(person_crop(keypoints[:, :2], keypoints[:, 2] > 0, torsos, scale), np.float32)


def spin_side(bbox: np.ndarray, joints2d: np.ndarray) -> np.ndarray:
    """bbox (N, 4) = x0, y0, x1, y1 px; joints2d (N, 49, >=2) px in SPIN-49 order -> (N,) float32 px: the side of SPIN's
    crop, TORSOS_PER_SIDE torsos, and never less than LOOSE times the longer side of the box."""
    loose = LOOSE * (bbox[:, 2:] - bbox[:, :2]).max(1)
    return np.maximum(TORSOS_PER_SIDE * torso_length(joints2d[..., :2], J24_TORSOS), loose).astype(np.float32)


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
    import torch

    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

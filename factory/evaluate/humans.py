"""People cut out of images, as the paper cuts them for H-FID and H-KID: everything else is black.

An image is resized to 299 px first, and then a detector looks at it. crop `frame` (the paper's MPII): all people, the
whole frame. crop `person` (its SMART): the first person, in the square of the longer side of their box.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch

from factory.errors import UserError
from factory.evaluate.inception import SIDE
from factory.evaluate.resizing import resized
from factory.job_stages import DetectorSpec
from factory.models.detectors.base import Instance
from factory.models.detectors.choice import load_detector
from factory.weights.locate import PREFIX

Crop = Literal["frame", "person"]
CROPS: tuple[Crop, ...] = get_args(Crop)
THRESHOLD = 0.5  # the least score of a person, the paper's
Cut = Callable[[list[np.ndarray]], list[np.ndarray | None]]


def people_cutter(words: str | None, job: DetectorSpec | None, crop: str, device: torch.device) -> tuple[Cut, str]:
    """(the function that cuts people out, a line for the output that says how).

    words: KIND=MODEL, as `--detector` takes them. None: the detector of the job that made the data, if it is a part of
    the starter pack; a data set may come from a stranger, and no file that its job.json names is opened. The function
    takes images (H, W, 3) uint8 and returns for each what `cut_out` does, None where nobody is found.
    """
    if crop not in CROPS:
        raise UserError(f"--crop {crop}: there are {' and '.join(CROPS)}")
    if not words and job is not None and not job.model.startswith(PREFIX):
        raise UserError(f"--humans: name the detector; if you trust the data set's: --detector {job.kind}={job.model}")
    kind, _, model = words.partition("=") if words else (job.kind if job else "", "", job.model if job else "")
    if kind not in ("mask2former", "detectron2") or not model:
        raise UserError(f"--detector {words}: write mask2former=FOLDER or detectron2=FILE")
    config = job.config if job and not words else None
    detector = load_detector(kind, model, THRESHOLD, device, config)

    def cut(images: list[np.ndarray]) -> list[np.ndarray | None]:
        small = [resized(image, SIDE).round().astype(np.uint8) for image in images]
        return [cut_out(image, found, crop) for image, found in zip(small, detector.detect(small), strict=True)]

    what = "all people, whole frame" if crop == "frame" else "the first person, in the square of their box"
    return cut, f"humans: {what}, on black; found by {model} (score >= {THRESHOLD:g}) in images of {SIDE} px"


def cut_out(image: np.ndarray, found: list[Instance], crop: str) -> np.ndarray | None:
    """image (H, W, 3) uint8, best instance first -> (H, W, 3) uint8 for crop `frame`, (L, L, 3) for `person`: black but
    for the people, or for the first. None: nobody was found."""
    people = [instance for instance in found if instance.label == "person" and instance.score >= THRESHOLD]
    if not people:
        return None
    if crop == "frame":
        mask = np.logical_or.reduce([person.mask for person in people])
        return np.where(mask[..., None], image, 0).astype(np.uint8)
    black = np.where(people[0].mask[..., None], image, 0).astype(np.uint8)
    x0, y0, x1, y1 = (round(float(value)) for value in people[0].bbox)
    side = max(x1 - x0, y1 - y0)
    square = np.zeros((side, side, 3), np.uint8)
    left, top = (side - (x1 - x0)) // 2, (side - (y1 - y0)) // 2
    square[top : top + y1 - y0, left : left + x1 - x0] = black[y0:y1, x0:x1]
    return square

"""People as crops in memory, and batches of them that are turned, mirrored and coloured as SPIN trains.

Each image is decoded once. The crop that is kept of a person is larger than the network's, so that a turned square of
the network's size still lies in it; its pixels are those of the network's crop, so that a crop that is not turned is
exactly what the network sees at test time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from torch import Tensor

from factory.errors import UserError
from factory.geometry.crops import MEAN, STD, cut
from factory.geometry.joints import FLIP24, FLIP49, OPENPOSE_PART
from factory.labelled.base import LabelledPeople
from factory.training.augment import cut_turned
from factory.training.learner import Batch
from factory.training.tensors import ImageRows, to_device

# SPIN's augmentation: the turn is normally distributed (degrees), cut off at two deviations, and 0 in most of the
# images; the factor of each colour channel is uniform in 1 +- COLOUR. The paper leaves the scale as it is.
TURN, UNTURNED, COLOUR = 30.0, 0.6, 0.4
MARGIN = math.sqrt(2)  # side of the kept crop over the network's
CHUNK = 64  # people whose images are read at a time
MEMORY = 0.8  # of what is free, at most


@dataclass(frozen=True)
class Views:
    """How each of B people is looked at: turn (B,) rad, clockwise in the image; mirror (B,) bool; colour (B, 3)
    factors of the channels."""

    turn: np.ndarray
    mirror: np.ndarray
    colour: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, count: int) -> Views:
        """Views drawn at random, as SPIN draws them."""
        turn = (TURN * rng.normal(size=count)).clip(-2 * TURN, 2 * TURN) * (rng.random(count) >= UNTURNED)
        return cls(np.deg2rad(turn), rng.random(count) < 0.5, rng.uniform(1 - COLOUR, 1 + COLOUR, (count, 3)))

    @classmethod
    def plain(cls, count: int) -> Views:
        """Views of people as they are."""
        return cls(np.zeros(count), np.zeros(count, bool), np.ones((count, 3)))

    def take(self, rows: slice) -> Views:
        return Views(self.turn[rows], self.mirror[rows], self.colour[rows])


@dataclass(eq=False)
class Labels:
    """What is known of N people, on the training's device: keypoints (N, 49, 3), see `losses`; rotations
    (N, 24, 3, 3) and betas (N, 10) of their bodies, where people have bodies."""

    keypoints: Tensor
    rotations: Tensor | None = None
    betas: Tensor | None = None


class Crops:
    """N people as crops of `size` px with their labels. The images are read when a batch is first drawn."""

    def __init__(self, people: LabelledPeople, size: int, labels: Labels) -> None:
        self.people, self.size, self.labels = people, size, labels
        self.kept = size + 2 * math.ceil((MARGIN - 1) * size / 2)  # px; of the same parity, so that pixels coincide
        self._images: ImageRows | None = None

    def __len__(self) -> int:
        return len(self.people)

    @property
    def images(self) -> ImageRows:
        """The kept crops, (N, kept, kept, 3) uint8 by row. UserError: an image that cannot be read, or no room."""
        if self._images is None:
            self._images = ImageRows(self._read())
        return self._images

    def with_labels(self, labels: Labels) -> Crops:
        """The same images, with other labels."""
        crops = Crops(self.people, self.size, labels)
        crops._images = self.images
        return crops

    def _read(self) -> np.ndarray:
        count, need = len(self), len(self) * self.kept**2 * 3
        if need > MEMORY * (free := psutil.virtual_memory().available):
            raise UserError(
                f"{self.people.name}: the crops of {count:,} people need {need / 2**30:.1f} GiB of memory and "
                f"{free / 2**30:.1f} GiB are free; take fewer, by --where or --share"
            )
        crops = np.empty((count, self.kept, self.kept, 3), np.uint8)
        for first in range(0, count, CHUNK):
            rows = np.arange(first, min(first + CHUNK, count))
            for row, image in zip(rows, self.people.read(rows), strict=True):
                crop = self.people.crop[row] * np.array([1, 1, self.kept / self.size], np.float32)
                crops[row] = cut(image, crop, self.kept)
        return crops

    def pixels(self, rows: np.ndarray, views: Views) -> Tensor:
        """rows (B,) -> (B, 3, size, size) in 0 ... 1."""
        count = len(rows)
        window = np.tile(np.array([self.kept / 2, self.kept / 2, self.size], np.float32), (count, 1))
        mirror = to_device(np.where(views.mirror, -1.0, 1.0))
        crops = cut_turned(self.images(rows), to_device(window), to_device(views.turn), mirror, self.size)
        return (crops * to_device(views.colour)[..., None, None]).clamp(0, 1)

    def draw(self, rows: np.ndarray, views: Views) -> Batch:
        """rows (B,) -> `image` (B, 3, size, size), ImageNet-normalised; `keypoints`; `rotations` and `betas` where
        people have bodies: all as the views show them."""
        picks = to_device(rows)
        batch = {"keypoints": self.labels.keypoints[picks]}
        if self.labels.rotations is not None and self.labels.betas is not None:
            batch |= {"rotations": self.labels.rotations[picks], "betas": self.labels.betas[picks]}
        return {"image": normalised(self.pixels(rows, views)), **seen_so(batch, views)}


def seen_so(labels: Batch, views: Views) -> Batch:
    """Labels of B people, `keypoints` (B, 49, 3) and perhaps `rotations` (B, 24, 3, 3) -> the same of the views."""
    turn, mirror = to_device(views.turn), to_device(views.mirror)
    # Turning the window clockwise turns what is seen anticlockwise: the matrix is a rotation by -turn about z.
    cos, sin, zero, one = turn.cos(), turn.sin(), torch.zeros_like(turn), torch.ones_like(turn)
    matrix = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], -1).view(-1, 3, 3)
    sign = to_device(np.array([-1.0, 1, 1]))
    seen = dict(labels)
    if "keypoints" in labels:
        points, weight = labels["keypoints"][..., :2] @ matrix[:, :2, :2].mT, labels["keypoints"][..., 2:]
        keypoints = torch.cat([points, weight], -1)
        seen["keypoints"] = torch.where(mirror[:, None, None], (keypoints * sign)[:, FLIP49], keypoints)
    if "rotations" in labels:
        rotations = torch.cat([(matrix @ labels["rotations"][:, 0])[:, None], labels["rotations"][:, 1:]], 1)
        mirrored = (sign[:, None] * sign * rotations)[:, FLIP24]  # the mirror image of each rotation, sides exchanged
        seen["rotations"] = torch.where(mirror[:, None, None, None], mirrored, rotations)
    return seen


def unseen_so(labels: Batch, views: Views) -> Batch:
    """The inverse of `seen_so`."""
    mirrored = Views(-views.turn * np.where(views.mirror, -1, 1), views.mirror, views.colour)
    return seen_so(labels, mirrored)


def normalised(images: Tensor) -> Tensor:
    """(B, 3, S, S) in 0 ... 1 -> the same, ImageNet-normalised."""
    mean, std = (to_device(np.array(value)).view(3, 1, 1) for value in (MEAN, STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def crop_keypoints(people: LabelledPeople) -> np.ndarray:
    """(N, 49, 3) float32: the keypoints of people in crop coordinates. The OpenPose part gets the weight 0, as SPIN
    gives it while it trains."""
    centre, side = people.crop[:, None, :2], people.crop[:, None, 2:]
    keypoints = people.keypoints.copy()
    keypoints[..., :2] = np.where(keypoints[..., 2:] > 0, (keypoints[..., :2] - centre) * 2 / side, 0)
    keypoints[:, OPENPOSE_PART, 2] = 0
    return keypoints


class Shuffled:
    """Rows 0 ... N - 1 in a random order, again and again in other orders: epochs. Which rows a step takes depends on
    the seed and the step alone."""

    def __init__(self, count: int, *seed: int) -> None:
        self.count, self.seed = count, seed

    def take(self, step: int, count: int) -> np.ndarray:
        """The `count` rows of step number `step`, where each step takes as many."""
        places = range(step * count, (step + 1) * count)
        epochs = {place // self.count for place in places}
        orders = {epoch: np.random.default_rng((*self.seed, epoch)).permutation(self.count) for epoch in epochs}
        return np.array([orders[place // self.count][place % self.count] for place in places], np.int64)

"""Images of a domain as latents with their captions, and the noisy batches that are drawn of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.finetune.captions import Captions
from factory.finetune.domain import DomainImage
from factory.finetune.latent_model import AT_ONCE, LatentModel
from factory.training.diffusion_loss import add_noise


@dataclass(frozen=True)
class LatentImages:
    """N images. latents (N, V, C, h, w) float32: V = 2 with the mirror image, else 1; control (N, 1, h, w), what a
    depth-to-image model gets beside them; sides (N,) px, see `DomainImage`; captions: those of each image."""

    latents: Tensor
    control: Tensor | None
    sides: list[float]
    captions: list[list[str]]
    size: int

    def __len__(self) -> int:
        return len(self.latents)


def encode_images(
    model: LatentModel, images: Iterable[DomainImage], captions: Captions, action: str, size: int, flip: bool
) -> LatentImages:
    """The images, encoded. An image keeps the caption that it comes with; others get all that `captions` has for their
    action, or else for `action`. UserError: none of the images can be read."""
    latents, controls, sides, texts = list[Tensor](), list[np.ndarray](), list[float](), list[list[str]]()
    batch: list[np.ndarray] = []

    def flush() -> None:
        if batch:
            pictures = np.stack(batch)
            views = [
                model.encode(np.ascontiguousarray(view)) for view in ([pictures, pictures[:, :, ::-1]][: 1 + flip])
            ]
            latents.append(torch.stack(views, 1))
            batch.clear()

    for image in images:
        if model.takes_depth:
            if image.depth is None or not image.depth.any():
                continue
            controls.append(model.control(image.depth))
        batch.append(image.image)
        sides.append(image.side)
        texts.append([image.caption] if image.caption else captions.of(image.action or action))
        if len(batch) == AT_ONCE:
            flush()
    flush()
    if not latents:
        raise UserError("--images: none of them can be read")
    control = torch.from_numpy(np.stack(controls)).float() if controls else None
    return LatentImages(torch.cat(latents), control, sides, texts, size)


def draw_batch(
    model: LatentModel, images: LatentImages, rng: np.random.Generator, rows: np.ndarray, no_caption: float = 0.0,
    mirror: bool = True,
) -> dict[str, Tensor]:  # fmt: skip
    """What `LatentModel.predict` takes for the images of `rows` (B,), with the `target` of its prediction and the
    `weight` of the squared error. `rng` draws captions, mirror images, times and noise."""
    views = rng.integers(images.latents.shape[1], size=len(rows)) if mirror else np.zeros(len(rows), int)
    choices, without = rng.random(len(rows)), rng.random(len(rows)) < no_caption
    texts = [images.captions[row] for row in rows]
    prompts = ["" if n else text[int(c * len(text))] for text, c, n in zip(texts, choices, without, strict=True)]
    noisy = add_noise(images.latents[rows, views].to(model.device), model.alphas, rng, model.prediction)
    batch = {"noisy": noisy.latents, "time": noisy.time, "target": noisy.target, "weight": noisy.weight}
    if images.control is not None:
        control = images.control[rows]
        flipped = torch.from_numpy(views)[:, None, None, None] == 1
        batch["depth"] = torch.where(flipped, control.flip(-1), control).to(model.device)
    return batch | model.conditions(prompts, [images.sides[row] for row in rows], images.size)

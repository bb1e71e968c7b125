"""Figures of an adapter of the starter's text-to-image model (guidance D), on a target domain of the starter world.

Does it make images of the domain easier to draw, and what is drawn with it more like them?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from factory.evaluate.extractors import FIGURES, Extractor, load_extractor
from factory.evaluate.statistics import frechet_distance, kernel_distance, subset_size
from factory.finetune.captions import Captions
from factory.finetune.domain import DomainImage, open_domain
from factory.finetune.held_out import HeldOutLoss, image_losses
from factory.finetune.latent_batches import LatentImages, encode_images
from factory.finetune.latent_model import LatentModel
from factory.models.diffusion.adapters import add_adapter
from factory.models.diffusion.text_to_image import TextToImage
from factory.prompts import read_prompts
from factory.starter.measure.figures import Figure
from factory.starter.world.cache import Cache
from factory.starter.world.domain_files import write_domain

MODEL, EXTRACTOR, DOMAIN = "starter:text-to-image", "starter", "smart-like"
TRAIN = 100  # images of each action that the domain's own training split has; they are not measured on
STEPS, GUIDANCE = 25, 6.0  # as in jobs/modes/finetuned.yaml
AT_ONCE = 16
Bar = Callable[[Iterable[Any]], Iterable[Any]]


def adapter_figures(
    adapter: str, folder: Path, count: int, renders: Cache | None = None, train: int = TRAIN, steps: int = STEPS,
    console: Console | None = None, bar: Bar = iter,
) -> list[Figure]:  # fmt: skip
    """The loss on `count` held-out images of the domain with the adapter, in percent of the loss without it; and how
    far as many drawn images lie from them, likewise. folder: of the domain, which is written where it is missing;
    renders: other scenes, on which a higher loss shows what the model forgot."""
    write_domain(DOMAIN, folder, train, count, console=console)
    domain = open_domain(f"smart:{folder}@test")
    size = LatentModel(MODEL).size
    real = list(domain.read(list(range(len(domain.names))), size))
    share, words = 100 * held_out_loss(adapter, real).share, f"loss on {DOMAIN} images, of that without it"
    rows = [Figure("adapter", words, share, len(real), "images", "%", 85, at_most=True)]
    if renders is not None:
        scenes = [
            DomainImage(str(i), renders.images[i], float(size), caption=renders.prompts[i])
            for i in range(min(count, len(renders)))
        ]
        share = 100 * held_out_loss(adapter, scenes).share
        rows.append(Figure("adapter", "the same on renders of the pack's own world", share, len(scenes), "scenes", "%"))
    extractor = load_extractor(EXTRACTOR, torch.device("cpu"))
    truth = features(extractor, [image.image for image in real])
    drawn = {name: features(extractor, draw(name, len(real), size, steps, bar)) for name in (None, adapter)}
    return rows + distances(truth, drawn[None], drawn[adapter])


def held_out_loss(adapter: str, images: list[DomainImage]) -> HeldOutLoss:
    """The training's loss on each image, without the adapter and with it."""
    losses = []
    for name in (None, adapter):
        model = LatentModel(MODEL)
        if name:
            add_adapter(model.pipe, name)
        losses.append(image_losses(model, _encoded(model, images)))
    return HeldOutLoss(*losses)


def _encoded(model: LatentModel, images: list[DomainImage]) -> LatentImages:
    return encode_images(model, images, Captions("finetune"), "", model.size, flip=False)


def draw(adapter: str | None, count: int, size: int, steps: int = STEPS, bar: Bar = iter) -> list[np.ndarray]:
    """`count` images (size, size, 3) uint8 of the domain's actions in turn; the same seeds for every adapter."""
    actions = read_prompts("smart")["action"]
    prompts = [f"a photo of an athlete doing {actions[i % len(actions)]}" for i in range(count)]
    model, images = TextToImage(MODEL, adapter=adapter), list[np.ndarray]()
    for i in bar(range(0, count, AT_ONCE)):
        texts = prompts[i : i + AT_ONCE]
        images += list(model.generate(texts, [1_000_000 + i + j for j in range(len(texts))], size, steps, GUIDANCE))
    return images


def features(extractor: Extractor, images: list[np.ndarray]) -> torch.Tensor:
    """(N, D) float64: the features of images (H, W, 3) uint8."""
    return torch.cat([extractor(images[i : i + AT_ONCE]) for i in range(0, len(images), AT_ONCE)])


def distances(real: torch.Tensor, plain: torch.Tensor, tuned: torch.Tensor) -> list[Figure]:
    """How far drawn images lie from the domain's, with the adapter in percent of without it."""
    names, count = FIGURES[EXTRACTOR], len(plain)
    size = subset_size(plain, real)
    rows = []
    for key, measure in (
        ("frechet_distance", lambda x: frechet_distance(x, real).value),
        ("kernel_distance", lambda x: kernel_distance(x, real, size).value),
    ):
        before, after = measure(plain), measure(tuned)
        words = f"{names[key]} of text images to {DOMAIN}, of that without it ({before:.4g} -> {after:.4g})"
        rows.append(Figure("adapter", words, 100 * after / before, count, "images", "%", 100, True))
    return rows

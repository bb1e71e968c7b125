"""Fine-tune a diffusion model on the images of a domain (guidance D): a LoRA, which a job names as `adapter`.

The domain's images are encoded once. Each step denoises some of them under templated captions, and where the user asks
for it as many images that the untouched model drew from generic prompts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.finetune.captions import Captions
from factory.finetune.diffusion_options import DiffusionOptions
from factory.finetune.domain import DomainImage, DomainImages, open_domain
from factory.finetune.drawn import comparison
from factory.finetune.held_out import HeldOutCurve, HeldOutLoss, image_losses
from factory.finetune.latent_batches import LatentImages, draw_batch, encode_images
from factory.finetune.latent_model import LatentModel
from factory.finetune.lora import LoRA
from factory.finetune.preserved import draw_preserved, generic_prompts
from factory.models.device import quiet_diffusers
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from factory.present.terminal import open_console, say
from factory.training.learner import Descent, Learner
from factory.training.loop import fit
from factory.training.randomness import seed_everything, step_rng
from factory.training.settings import Settings
from factory.training.tensors import bfloat16_is_fast, training_device

WARMUP = 20  # steps
MOST_HELD_OUT = 256  # images that the loss is measured on at each checkpoint
SHOWN = 4  # images in samples.png
MAPS = 64  # depth maps that preserved images are drawn under


def finetune_diffusion(options: DiffusionOptions) -> HeldOutLoss | None:
    """Train the adapter, or go on where an earlier call stopped; returns the loss on held-out images, None where none
    are held out. UserError: the model, the images or an option cannot be used, or `out` holds another training."""
    quiet_diffusers()
    seed_everything(options.seed, options.threads)
    console, device = open_console(), training_device()
    captions = Captions(options.prompts)
    model = LatentModel(options.model, options.revision, options.variant, device)
    domain = open_domain(options.images, options.where, options.limit, model.takes_depth)
    size = options.size or model.size
    model.require_size(size)
    train_rows, held_rows = domain.split(options.held_out, options.seed)
    if not train_rows:
        raise UserError(f"--held-out {options.held_out:g} leaves none of {len(domain.names)} images to learn")
    held_rows = held_rows[:MOST_HELD_OUT]
    lora_settings = {"rank": options.rank, "layers": options.layers}
    settings = Settings(
        model=f"{options.model}@{options.revision or ''}", images=domain.identity, size=size, seed=options.seed,
        prompts=options.prompts, held_out=options.held_out, preserve=options.preserve, **lora_settings,
    )  # fmt: skip
    preserved_images = list(_preserved(options, model, domain, train_rows, size, settings)) if options.preserve else []

    def encoded(images: Iterator[DomainImage]) -> LatentImages:
        return encode_images(model, images, captions, options.action, size, options.flip)

    learnt = encoded(domain.read(train_rows, size))
    held = encoded(domain.read(held_rows, size)) if held_rows else None
    preserved = encoded(iter(preserved_images)) if preserved_images else None
    examples = list(domain.read((held_rows or train_rows)[:SHOWN], size))
    for note in dict.fromkeys(domain.notes):
        say(console, note)

    batch_size = min(options.batch, len(learnt))
    if not options.steps and not options.minutes:
        options = replace(options, steps=math.ceil(options.epochs * len(learnt) / batch_size))
    bfloat = bfloat16_is_fast() and not options.full_precision
    curve = HeldOutCurve(options.out / "figures.json")
    without = image_losses(model, held, bfloat) if held is not None else None
    lora = LoRA(model.unet.train(), options.rank, options.layers)
    if options.save_memory:
        model.unet.enable_gradient_checkpointing()
    parameters = lora.parameters()
    count = sum(p.numel() for p in parameters)
    budget = f"{options.steps:,} steps" if options.steps else f"{options.minutes:g} minutes"
    say(console, f"{len(learnt):,} images to learn, {len(held or ()):,} held out, {count:,} weights, {budget}")

    def terms(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat):
            predicted = model.predict(batch).float()
        errors = (batch["weight"] * (predicted - batch["target"]).square()).mean((1, 2, 3))
        values = {"loss": errors[:batch_size].mean()}
        if preserved is not None:
            values["preserved"] = options.preserve_weight * errors[batch_size:].mean()
        return values

    optimizer = torch.optim.AdamW(parameters, lr=options.rate, weight_decay=0.01, betas=(0.9, 0.99))
    descent = Descent(terms, optimizer, parameters, 1.0, record=False)
    learner = Learner(lora, descent, options.rate, WARMUP)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        rng = step_rng(options.seed, index)
        batch = draw_batch(model, learnt, rng, _rows(options.seed, index, len(learnt), batch_size), options.no_caption)
        if preserved is not None:
            generic = draw_batch(model, preserved, rng, rng.integers(len(preserved), size=batch_size))
            batch = {name: torch.cat([value, generic[name]]) for name, value in batch.items()}
        curve.step = index + 1
        return learner.step(index, fraction, batch)

    latest = list[HeldOutLoss]()

    def export() -> None:
        if not all(value.isfinite().all() for value in parameters):
            raise UserError(
                f"--rate {options.rate:g}: the weights are not finite any more; remove {options.out}, take less"
            )
        options.export.mkdir(parents=True, exist_ok=True)
        lora.save(options.export)
        if held is not None and without is not None:
            latest[:] = [HeldOutLoss(without, image_losses(model, held, bfloat))]
            curve.add(latest[0])

    def picture() -> np.ndarray:
        texts = [image.caption or captions.of(image.action or options.action)[0] for image in examples]
        return comparison(model, lora, examples, texts, size)

    fit("diffusion", options, step, {"settings": settings, "curve": curve, **learner.parts}, export, picture)
    say(console, f"The adapter is in {options.export}: name it as `adapter` of stages.generate or stages.refine.")
    if held is None or without is None:
        return None
    figures = latest[0] if latest else HeldOutLoss(without, image_losses(model, held, bfloat))
    say(console, str(figures))
    return figures


def _rows(seed: int, index: int, count: int, batch: int) -> np.ndarray:
    """(batch,) rows of step number `index`. Steps go through the images in an order of each epoch's own, so that every
    image is learnt as often as every other."""
    epochs, places = np.divmod(np.arange(index * batch, (index + 1) * batch), count)
    orders = {epoch: np.random.default_rng((seed, epoch, 1)).permutation(count) for epoch in epochs.tolist()}
    return np.array([orders[epoch][place] for epoch, place in zip(epochs.tolist(), places, strict=True)])


def _preserved(
    options: DiffusionOptions, model: LatentModel, domain: DomainImages, rows: list[int], size: int, settings: Settings
) -> Iterator[DomainImage]:
    """Images that the untouched model draws, in a folder named after what they depend on."""
    depends = {**settings, "preserve_prompts": options.preserve_prompts}
    name = hashlib.blake2b(repr(sorted(depends.items())).encode(), digest_size=4).hexdigest()
    prompts = generic_prompts(options.preserve_prompts, options.preserve, options.seed)
    depths = None
    if model.takes_depth:
        depths = [image.depth for image in domain.read(rows[:MAPS], size) if image.depth is not None]
    kind = DepthToImage if model.takes_depth else TextToImage
    drawn = kind(options.model, device=model.device, revision=options.revision, variant=options.variant)
    yield from draw_preserved(options.out / f"preserved-{name}", drawn, prompts, size, options.seed, depths)

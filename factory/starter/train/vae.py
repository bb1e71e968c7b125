"""Train the starter's image autoencoder (diffusers' AutoencoderKL): 128 px images to 32x32 latents of 4 channels.

Few channels at full resolution keep it cheap on a CPU. GroupNorm has two groups, because one group per channel would
remove the mean of each channel and with it flat colours.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from factory.models.device import quiet_diffusers
from factory.starter.train.samples import vae_samples
from factory.starter.world.cache import Cache
from factory.training.average import EMA
from factory.training.learner import Descent, Learner
from factory.training.loop import fit
from factory.training.options import TrainingOptions
from factory.training.randomness import seed_everything, step_rng
from factory.training.tensors import ImageRows, bfloat16_is_fast, images_to_tensor, training_device

BATCH, RATE = 16, 2e-3
CONFIG = dict(
    down_block_types=("DownEncoderBlock2D",) * 3,
    up_block_types=("UpDecoderBlock2D",) * 3,
    block_out_channels=(8, 24, 64),
    layers_per_block=1,
    latent_channels=4,
    norm_num_groups=2,
    mid_block_add_attention=False,
    sample_size=128,
)
KL_WEIGHT = 5e-7
# Over the first CROPPED of the training, four crops of CROP px stand in for one image: as many pixels, more variety.
CROP, CROPPED = 64, 0.7


def reconstruction_loss(drawn: Tensor, image: Tensor) -> Tensor:
    """L1 + L2 + L1 of the image gradients, which keeps outlines sharp. Both (N, 3, H, W) in [-1, 1]."""
    loss = l1_loss(drawn, image) + mse_loss(drawn, image)
    for dim in (2, 3):
        loss = loss + l1_loss(drawn.diff(dim=dim), image.diff(dim=dim))
    return loss


@torch.no_grad()
def reconstruction_error(vae: AutoencoderKL, images: np.ndarray) -> float:
    """Mean absolute error of the reconstruction of images (N, H, W, 3) uint8, on the scale [-1, 1]."""
    batches = [images_to_tensor(images[i : i + 32]) for i in range(0, len(images), 32)]
    errors = [(vae(b.to(vae.device)).sample.cpu() - b).abs().mean() for b in batches]
    return float(torch.stack(errors).mean())


def train_vae(options: TrainingOptions, cache: Cache, start: Path | None = None) -> None:
    """Train on the images of the cache. start: the folder of an autoencoder whose decoder alone goes on learning, so
    that the latents stay the same."""
    quiet_diffusers()
    seed_everything(options.seed, options.threads)
    batch_size, rate = options.batch or BATCH, options.rate or RATE
    device, bfloat = training_device(), bfloat16_is_fast() and not options.full_precision
    vae = AutoencoderKL(**CONFIG)
    if start:
        vae = AutoencoderKL.from_pretrained(start, torch_dtype=torch.float32).train()
        vae.register_to_config(_name_or_path="")  # diffusers stores there the folder that it loaded from
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    vae.to(device).to(memory_format=torch.channels_last)
    parameters = [p for p in vae.parameters() if p.requires_grad]
    fused = torch.cuda.is_available()
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, betas=(0.9, 0.98), fused=fused)
    average, images = EMA(vae, 0.998), ImageRows(cache.images)

    def terms(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image = batch["image"]
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat):
            posterior = vae.encode(image).latent_dist
            drawn = vae.decode(posterior.sample()).sample
        return {"picture": reconstruction_loss(drawn.float(), image), "kl": KL_WEIGHT * posterior.kl().mean()}

    learner = Learner(vae, Descent(terms, optimizer, parameters, 1.0), rate, average=average)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        rng = step_rng(options.seed, index)
        cropped = fraction < CROPPED
        image = 2 * images(rng.integers(len(cache), size=batch_size * (4 if cropped else 1))) - 1
        if cropped:
            x, y = rng.integers(image.shape[3] - CROP + 1, size=2)
            image = image[:, :, y : y + CROP, x : x + CROP]
        if rng.random() < 0.5:
            image = image.flip(3)
        return learner.step(index, fraction, {"image": image.contiguous(memory_format=torch.channels_last)})

    def export() -> None:
        if not start:
            with torch.no_grad():
                latents = average.model.encode(images_to_tensor(cache.images[:256]).to(device)).latent_dist.mode()
            average.model.register_to_config(scaling_factor=float(1 / latents.std()))
        copy.deepcopy(average.model).to(torch.float16).save_pretrained(options.export)

    fit("vae", options, step, learner.parts, export, lambda: vae_samples(options.export, cache))
    print(f"L1 of the averaged weights {reconstruction_error(average.model, cache.images[-256:]):.4f}")

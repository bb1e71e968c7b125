"""Figures of the starter pack's adapter: the loss of the depth-to-image model on held-out scenes, with and without."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDIMScheduler

from factory.models.diffusion.depth_to_image import DepthToImage
from factory.starter.measure.figures import Figure, mean
from factory.starter.train.adapter import domain_rows, embed
from factory.starter.train.diffusion import stretch
from factory.starter.train.pipelines import SCHEDULER
from factory.starter.world.cache import Cache
from factory.training.diffusion_loss import add_noise
from factory.training.randomness import step_rng
from factory.training.tensors import images_to_tensor

DRAWS = 8  # of noise for each scene; every other one is denoised with the scene's depth


def adapter_figures(cache: Cache, limit: int, adapter: str = "starter:adapter") -> list[Figure]:
    """The loss of the training with the adapter, in percent of the loss without it: on scenes of its domain and on all
    others, among the first `limit`."""
    plain, tuned = (DepthToImage("starter:depth-to-image", adapter=name) for name in (None, adapter))
    in_domain = np.isin(np.arange(min(limit, len(cache))), domain_rows(cache))
    shares = []
    for rows in (np.flatnonzero(in_domain), np.flatnonzero(~in_domain)):
        before, after = (mean(scene_losses(model, cache, rows)) for model in (plain, tuned))
        shares.append((100 * after / before, len(rows)))
    (domain, n), (rest, m) = shares
    return [
        Figure("adapter", "loss on renders of its domain, of that without it", domain, n, "scenes", "%", 100, True),
        Figure("adapter", "the same on other renders", rest, m, "scenes", "%"),
    ]


@torch.no_grad()
def scene_losses(model: DepthToImage, cache: Cache, rows: np.ndarray) -> np.ndarray:
    """(N,) loss on each scene of the rows (N,), the mean over draws of noise that are the same for every model."""
    pipe, alphas = model.pipe, DDIMScheduler(**SCHEDULER).alphas_cumprod
    batches = [torch.zeros(0)]
    for i in range(0, len(rows), 32):
        batch = rows[i : i + 32]
        image = images_to_tensor(cache.images[batch])
        latents = pipe.vae.encode(image).latent_dist.mode() * pipe.vae.config.scaling_factor
        depth = torch.from_numpy(stretch(cache.depth[batch])[:, None].astype(np.float32))
        words = embed([cache.prompts[j] for j in batch], pipe.tokenizer, pipe.text_encoder)
        losses = []
        for draw in range(DRAWS):
            noisy, time, target, weight = add_noise(latents, alphas, step_rng(i, draw))
            drawn = pipe.unet(torch.cat([noisy, depth * (draw % 2)], 1), time, words).sample
            losses.append((weight * (drawn - target).square()).mean((1, 2, 3)))
        batches.append(torch.stack(losses).mean(0))
    return torch.cat(batches).numpy()

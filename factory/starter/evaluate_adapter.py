"""Figures of the starter pack's adapter: how far off the depth-guided model is on held-out scenes with it."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDIMScheduler

from factory.models.diffusion.depth_to_image import DepthToImage
from factory.starter.cache import Cache
from factory.starter.figures import Row, mean
from factory.starter.train import common
from factory.starter.train.adapter import embed, rows_of
from factory.starter.train.diffusion import SCHEDULER, noised, stretch

DRAWS = 8  # of noise for each scene, every other one with its depth


def rows(cache: Cache, limit: int, adapter: str = "starter:adapter") -> list[Row]:
    """The loss as it was trained with, in percent of that without the adapter: of its domain and of all other scenes,
    among the first `limit`."""
    plain, tuned = (DepthToImage("starter:depth-to-image", adapter=name) for name in (None, adapter))
    inside = np.isin(np.arange(min(limit, len(cache))), rows_of(cache))
    shares = []
    for some in (np.flatnonzero(inside), np.flatnonzero(~inside)):
        before, after = (mean(errors(model, cache, some)) for model in (plain, tuned))
        shares.append((100 * after / before, len(some)))
    (domain, n), (rest, m) = shares
    return [
        Row("adapter", "loss on renders of its domain, of that without it", domain, n, "scenes", "%", 100, True),
        Row("adapter", "the same on other renders", rest, m, "scenes", "%"),
    ]


@torch.no_grad()
def errors(model: DepthToImage, cache: Cache, some: np.ndarray) -> np.ndarray:
    """(N,) loss of each scene, mean over draws of noise that are the same for every model."""
    pipe, alphas = model.pipe, DDIMScheduler(**SCHEDULER).alphas_cumprod
    found = [torch.zeros(0)]
    for i in range(0, len(some), 32):
        part = some[i : i + 32]
        latents = (
            pipe.vae.encode(common.to_tensor(cache.images[part])).latent_dist.mode() * pipe.vae.config.scaling_factor
        )
        depth = torch.from_numpy(stretch(cache.depth[part])[:, None].astype(np.float32))
        words = embed([cache.prompts[j] for j in part], pipe.tokenizer, pipe.text_encoder)
        losses = []
        for draw in range(DRAWS):
            noisy, time, target, weight = noised(latents, alphas, common.rng(i, draw))
            drawn = pipe.unet(torch.cat([noisy, depth * (draw % 2)], 1), time, words).sample
            losses.append((weight * (drawn - target).square()).mean((1, 2, 3)))
        found.append(torch.stack(losses).mean(0))
    return torch.cat(found).numpy()

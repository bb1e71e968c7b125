"""Depth-to-image with one change: the human region may start from noise instead of the encoded image."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import StableDiffusionDepth2ImgPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


class HumanRegionDepth2Img(StableDiffusionDepth2ImgPipeline):
    """`region` (N, 1, h, w) bool at latent size, or None: where the encoded image is replaced before it is noised.

    diffusers takes ready latents only when they have four channels, hence a subclass.
    """

    vae: Any  # set by diffusers
    scheduler: Any
    region: Tensor | None = None

    def prepare_latents(
        self,
        image: Tensor,
        timestep: Tensor,
        batch_size: int,
        num_images_per_prompt: int,
        dtype: torch.dtype,
        device: torch.device,
        generator: Any = None,
    ) -> Tensor:
        """image (N, 3, H, W) in [-1, 1], one generator each -> noised latents (N, C, h, w)."""
        code = self.vae.encode(image.to(device=device, dtype=dtype)).latent_dist

        def noise() -> Tensor:
            return randn_tensor(code.mean.shape, generator=generator, device=device, dtype=dtype)

        latents = self.vae.config.scaling_factor * (code.mean + code.std * noise())
        added = noise()
        if self.region is not None:
            latents = torch.where(self.region.to(device), noise(), latents)
        return self.scheduler.add_noise(latents, added, timestep)

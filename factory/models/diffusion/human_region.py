"""Pipelines of diffusers that redraw an image under a depth map, with one change: the human region may start from noise
instead of the encoded image. There is one pipeline for each way in which a model takes its depth.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
)
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


class _HumanRegion:
    """region (N, 1, h, w) bool at latent size: where noise replaces the encoded image before it is noised; None:
    nowhere.

    diffusers accepts ready latents only when they have four channels, so this class prepares the latents itself.
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
        add_noise: bool = True,
    ) -> Tensor:
        """image (N, 3, H, W) in [-1, 1], one generator each -> noised latents (N, C, h, w)."""
        code = self._encode(image.to(device), dtype)

        def noise() -> Tensor:
            return randn_tensor(code.mean.shape, generator=generator, device=device, dtype=dtype)

        config = self.vae.config
        latents = (code.mean + code.std * noise()).to(dtype)
        if getattr(config, "latents_mean", None) and getattr(config, "latents_std", None):
            mean, deviation = (
                latents.new_tensor(c).view(1, -1, 1, 1) for c in (config.latents_mean, config.latents_std)
            )
            latents = (latents - mean) / deviation
        latents = config.scaling_factor * latents
        added = noise()
        if self.region is not None:
            latents = torch.where(self.region.to(device), noise(), latents)
        return self.scheduler.add_noise(latents, added, timestep)

    def _encode(self, image: Tensor, dtype: torch.dtype) -> Any:
        """The image's code. SDXL's encoder overflows in half precision, and its config says so: it then works in
        float32."""
        upcast = dtype == torch.float16 and self.vae.config.force_upcast
        if upcast:
            self.vae.to(torch.float32)
        code = self.vae.encode(image.to(self.vae.dtype)).latent_dist
        if upcast:
            self.vae.to(dtype)
        return code


class Depth2Img(_HumanRegion, StableDiffusionDepth2ImgPipeline):
    """Depth as one more input channel of the UNet: SD-2-depth."""


class ControlNetImg2Img(_HumanRegion, StableDiffusionControlNetImg2ImgPipeline):
    """Depth by a ControlNet on SD 1.x and 2.x."""


class ControlNetXLImg2Img(_HumanRegion, StableDiffusionXLControlNetImg2ImgPipeline):
    """Depth by a ControlNet on SDXL."""

"""What diffusion models share: loading by diffusers, batches of prompts and seeds in, images out.

Each image has a random stream of its own. Streams live on the CPU, so that an image follows from its seed on any device
and, but for the last bit of rounding, in any batch.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from factory.models.diffusion.adapters import add_adapter
from factory.models.diffusion.guidance import guidance
from factory.models.diffusion.layout import Layout
from factory.models.diffusion.pipelines import load_pipeline, place_on
from factory.models.diffusion.prompt_cache import PromptCache
from factory.models.diffusion.prompt_length import PromptReader
from factory.models.diffusion.schedulers import set_scheduler

# Pipelines that pad a batch to its longest text and do not mask the padding: an image would depend on its batch.
ALONE = ("CogView4Pipeline",)


class Refiner(Protocol):
    """A model that redraws images under depth maps."""

    def refine(
        self,
        images: np.ndarray,
        depths: np.ndarray,
        prompts: list[str],
        seeds: list[int],
        steps: int = 50,
        strength: float = 0.7,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
        regions: np.ndarray | None = None,
    ) -> np.ndarray:
        """images (N, H, W, 3) uint8; depths (N, H, W) m, d* of Eq. 3, 0 = no body, never empty -> (N, H, W, 3) uint8.

        The images are encoded, noised by `strength` and denoised under prompt and depth in int(steps * strength) steps.
        regions (N, H, W) bool: latents of which at least half lies inside start from noise instead.
        """


class DiffusionModel:
    """A pipeline of diffusers with its prompts, guidance and seeds. Subclasses choose the pipeline and call it."""

    def __init__(
        self,
        pipeline: Any,
        layout: Layout,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        *,
        variant: str | None = None,
        scheduler: str | None = None,
        adapter: str | None = None,
        adapter_scale: float = 1.0,
        save_memory: Literal["no", "slices", "offload"] = "no",
        **parts: Any,
    ) -> None:
        """pipeline: a class of diffusers; variant: of the model's files; scheduler: a name of SCHEDULERS; parts:
        networks that the model itself does not hold. UserError as `load_pipeline` and `set_scheduler`."""
        self.device = torch.device(device)
        pipe = load_pipeline(pipeline, layout, dtype, variant, **parts)
        set_scheduler(pipe, scheduler)
        if adapter:
            add_adapter(pipe, adapter, adapter_scale)
        self.pipe = place_on(pipe, self.device, save_memory)
        self.prompts = PromptCache(self.pipe)
        network = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
        self.reader = PromptReader(layout)
        self.guidance = guidance(type(pipe), pipe.config, network.config if network is not None else {})

    @torch.inference_mode()
    def run(
        self, prompts: list[str], negative_prompt: str, seeds: list[int], guidance_scale: float, **arguments: Any
    ) -> np.ndarray:
        """One image per prompt and seed, (N, H, W, 3) uint8 RGB. arguments: others of the pipeline's call. UserError
        where guidance_scale or negative_prompt would have no effect."""
        if len(prompts) > 1 and type(self.pipe).__name__ in ALONE:
            pairs = zip(prompts, seeds, strict=True)
            return np.concatenate([self.run([p], negative_prompt, [s], guidance_scale, **arguments) for p, s in pairs])
        self.guidance.check(guidance_scale, negative_prompt)
        second_pass = self.guidance.contrasts(guidance_scale) and "negative_prompt" in self.guidance.call
        images = self.pipe(
            **self.prompts.arguments(prompts, negative_prompt if second_pass else None),
            **self.guidance.arguments(guidance_scale),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
            **arguments,
        ).images
        if not np.isfinite(images).all():
            raise ValueError("the diffusion model returned NaN; a wider dtype may help")
        # The model's order in memory may be another than (N, H, W, 3); readers of the array need that one.
        return np.ascontiguousarray((images * 255).round().astype(np.uint8))

    def latent_size(self, images: np.ndarray) -> tuple[int, int]:
        """images (N, H, W, 3) -> (height, width) of their latents."""
        return images.shape[1] // self.pipe.vae_scale_factor, images.shape[2] // self.pipe.vae_scale_factor

    def latent_regions(self, regions: np.ndarray, images: np.ndarray) -> Tensor:
        """regions (N, H, W) bool -> (N, 1, h, w) bool: the latents of which at least half lies inside."""
        height, width = self.latent_size(images)
        rows, columns = regions.shape[1] // height, regions.shape[2] // width
        share = regions.reshape(len(regions), height, rows, width, columns).mean((2, 4))
        return torch.from_numpy(share >= 0.5)[:, None]


def image_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous() / 255

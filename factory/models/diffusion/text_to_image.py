"""Images drawn from texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from factory.models.diffusion.base import DiffusionModel
from factory.models.diffusion.layout import Layout


class TextToImage(DiffusionModel):
    """A model in any folder or hub id whose pipeline draws from text: SD 1.x to 3.x, SDXL, FLUX, Qwen-Image and
    others."""

    def __init__(
        self,
        model: str,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        revision: str | None = None,
        **options: Any,
    ) -> None:
        """options: of `DiffusionModel`. UserError when the model is missing or draws not from text alone."""
        layout = Layout.of(model, revision)
        super().__init__(layout.text_to_image(), layout, dtype, device, **options)

    def generate(
        self,
        prompts: list[str],
        seeds: list[int],
        size: int,
        steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
    ) -> np.ndarray:
        """One prompt and one seed per image; size in px -> (N, size, size, 3) uint8 RGB."""
        return self.run(
            prompts,
            negative_prompt,
            seeds,
            guidance_scale,
            height=size,
            width=size,
            num_inference_steps=steps,
        )

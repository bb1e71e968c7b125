"""Images redrawn under a depth map by a model that takes depth itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from factory.geometry.depth import inverse_depth
from factory.models.diffusion.base import DiffusionModel, image_tensor
from factory.models.diffusion.layout import Layout


class DepthToImage(DiffusionModel):
    """A `Refiner` of the layout of SD-2-depth; its depth estimator is not used.

    Depth: at latent size (64x64 for images of 512 px), reduced by area, in [-1, 1], near = 1, background = -1.
    """

    def __init__(
        self,
        model: str,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        revision: str | None = None,
        **options: Any,
    ) -> None:
        """options: of `DiffusionModel`. UserError when the model is missing or takes no depth map."""
        from factory.models.diffusion.human_region import Depth2Img

        layout = Layout.of(model, revision)
        layout.require_depth()
        super().__init__(Depth2Img, layout, dtype, device, **options)

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
        """See `Refiner`."""
        height, width = self.latent_size(images)
        depth_map = np.stack([inverse_depth(depth, height, width) for depth in depths])
        self.pipe.region = None if regions is None else self.latent_regions(regions, images)
        return self.run(
            prompts,
            negative_prompt,
            seeds,
            guidance_scale,
            image=image_tensor(images),
            depth_map=torch.from_numpy(depth_map),
            strength=strength,
            num_inference_steps=steps,
        )

"""Images redrawn under a depth map by a text-to-image model and a depth ControlNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from factory.geometry.depth import inverse_depth
from factory.models.device import quiet_diffusers
from factory.models.diffusion.base import DiffusionModel, image_tensor
from factory.models.diffusion.controlnet_config import check_config, read_config
from factory.models.diffusion.layout import Layout
from factory.weights.folders import choose_variant
from factory.weights.networks import load_network


class ControlNetToImage(DiffusionModel):
    """A `Refiner` of Stable Diffusion 1.x, 2.x or SDXL and a depth ControlNet trained for it.

    Depth: at image size, in [0, 1] (near = 1, background = 0), in all three channels of an RGB image. Such control
    images come from the depth annotators that these networks were trained with.
    """

    def __init__(
        self,
        model: str,
        controlnet: str,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        revision: str | None = None,
        weight: float = 1.0,
        **options: Any,
    ) -> None:
        """weight: of the ControlNet's output (diffusers' controlnet_conditioning_scale); options: of `DiffusionModel`.
        UserError when one of the models is missing or of another kind, or when they are of two families."""
        from diffusers import ControlNetModel

        from factory.models.diffusion.human_region import ControlNetImg2Img, ControlNetXLImg2Img

        quiet_diffusers()
        layout = Layout.of(model, revision)
        folder, config = read_config(controlnet)
        check_config(config, controlnet, layout)
        label, variant = f"ControlNet {controlnet}", options.get("variant")
        rules = {
            "torch_dtype": getattr(torch, dtype),
            "local_files_only": folder is not None,
            "variant": choose_variant(folder, label, variant) if folder is not None else None,
        }
        network = load_network(ControlNetModel, label, str(folder or controlnet), **rules)
        xl = network.config.addition_embed_type is not None  # only SDXL's networks take the image's size as an input
        pipeline = ControlNetXLImg2Img if xl else ControlNetImg2Img
        super().__init__(pipeline, layout, dtype, device, controlnet=network, **options)
        self.weight = weight

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
        height, width = images.shape[1:3]
        control = np.stack([(inverse_depth(depth, height, width) + 1) / 2 for depth in depths])
        self.pipe.region = None if regions is None else self.latent_regions(regions, images)
        return self.run(
            prompts,
            negative_prompt,
            seeds,
            guidance_scale,
            image=image_tensor(images),
            control_image=torch.from_numpy(control)[:, None].expand(-1, 3, -1, -1).contiguous(),
            height=height,
            width=width,
            strength=strength,
            num_inference_steps=steps,
            controlnet_conditioning_scale=self.weight,
        )

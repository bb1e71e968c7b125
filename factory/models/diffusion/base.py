"""Text-to-image and depth-guided image-to-image by diffusers, in batches, with one random stream per image.

Streams live on the CPU, so that an image follows from its seed on any device and, but for the last bit of rounding, in
any batch.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from factory.geometry.depth import inverse_depth
from factory.models.diffusion.adapters import add_adapter
from factory.models.diffusion.guidance import guidance
from factory.models.diffusion.layout import Layout, check_controlnet, controlnet_config
from factory.models.diffusion.pipelines import load_pipeline, place, set_scheduler
from factory.models.diffusion.prompt_cache import PromptCache
from factory.models.diffusion.prompt_length import PromptReader
from factory.weights.files import choose
from factory.weights.networks import load_network

# Pipelines that pad a batch to its longest text and do not mask what they padded: an image would depend on its batch.
ALONE = ("CogView4Pipeline",)


class Refiner(Protocol):
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
        regions (N, H, W) bool: latents mostly inside start from noise instead.
        """


class _Pipeline:
    """What the adapters share: loading, prompts, seeds, pixels."""

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
        """variant: of the model's files; scheduler: see `pipelines.SCHEDULERS`. UserError as `pipelines`."""
        self.device = torch.device(device)
        pipe = load_pipeline(pipeline, layout, dtype, variant, **parts)
        set_scheduler(pipe, scheduler)
        if adapter:
            add_adapter(pipe, adapter, adapter_scale)
        self.pipe = place(pipe, self.device, save_memory)
        self.prompts = PromptCache(self.pipe)
        network = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
        self.reader = PromptReader(layout)
        self.guidance = guidance(type(pipe), pipe.config, network.config if network is not None else {})

    @torch.inference_mode()
    def _run(
        self, prompts: list[str], negative_prompt: str, seeds: list[int], guidance_scale: float, **arguments: Any
    ) -> np.ndarray:
        """UserError where guidance_scale or negative_prompt would have no effect."""
        if len(prompts) > 1 and type(self.pipe).__name__ in ALONE:
            pairs = zip(prompts, seeds, strict=True)
            return np.concatenate([self._run([p], negative_prompt, [s], guidance_scale, **arguments) for p, s in pairs])
        self.guidance.check(guidance_scale, negative_prompt)
        second = self.guidance.contrasts(guidance_scale) and "negative_prompt" in self.guidance.call
        images = self.pipe(
            **self.prompts.arguments(prompts, negative_prompt if second else None),
            **self.guidance.arguments(guidance_scale),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
            **arguments,
        ).images
        if not np.isfinite(images).all():
            raise ValueError("the diffusion model returned NaN; a wider dtype may help")
        return np.ascontiguousarray((images * 255).round().astype(np.uint8))  # not in the model's memory order


class TextToImage(_Pipeline):
    """Any folder or hub id whose pipeline draws from text: SD 1.x, 2.x, 3.x, SDXL, FLUX, Qwen-Image and others."""

    def __init__(
        self,
        model: str,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        revision: str | None = None,
        **options: Any,
    ) -> None:
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
        return self._run(
            prompts,
            negative_prompt,
            seeds,
            guidance_scale,
            height=size,
            width=size,
            num_inference_steps=steps,
        )


class DepthToImage(_Pipeline):
    """A `Refiner` of the layout of SD-2-depth; its depth estimator is not used.

    Depth: at latent size (64x64 of 512 px), reduced by area, in [-1, 1], near = 1, background = -1.
    """

    def __init__(
        self,
        model: str,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        revision: str | None = None,
        **options: Any,
    ) -> None:
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
        height, width = _latent_size(self.pipe, images)
        depth_map = np.stack([inverse_depth(depth, height, width) for depth in depths])
        self.pipe.region = None if regions is None else _shrink(regions, height, width)
        return self._run(
            prompts,
            negative_prompt,
            seeds,
            guidance_scale,
            image=_pixels(images),
            depth_map=torch.from_numpy(depth_map),
            strength=strength,
            num_inference_steps=steps,
        )


class ControlNetToImage(_Pipeline):
    """A `Refiner` of Stable Diffusion 1.x, 2.x or SDXL and a depth ControlNet trained for it.

    Depth: at image size, in [0, 1] (near = 1, background = 0), thrice as an RGB image: what the annotators that these
    networks were trained with give. weight: of the ControlNet's hints (diffusers' controlnet_conditioning_scale).
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
        from diffusers import ControlNetModel

        from factory.models.device import quiet_diffusers
        from factory.models.diffusion.human_region import ControlNetImg2Img, ControlNetXLImg2Img

        quiet_diffusers()
        layout = Layout.of(model, revision)
        folder, config = controlnet_config(controlnet)
        check_controlnet(config, controlnet, layout)
        where, variant = f"ControlNet {controlnet}", options.get("variant")
        rules = {
            "torch_dtype": getattr(torch, dtype),
            "local_files_only": folder is not None,
            "variant": choose(folder, where, variant) if folder is not None else None,
        }
        hints = load_network(ControlNetModel, where, str(folder or controlnet), **rules)
        xl = hints.config.addition_embed_type is not None  # only SDXL's takes the image's size as an input
        pipeline = ControlNetXLImg2Img if xl else ControlNetImg2Img
        super().__init__(pipeline, layout, dtype, device, controlnet=hints, **options)
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
        hints = np.stack([(inverse_depth(depth, height, width) + 1) / 2 for depth in depths])
        self.pipe.region = None if regions is None else _shrink(regions, *_latent_size(self.pipe, images))
        return self._run(
            prompts,
            negative_prompt,
            seeds,
            guidance_scale,
            image=_pixels(images),
            control_image=torch.from_numpy(hints)[:, None].expand(-1, 3, -1, -1).contiguous(),
            height=height,
            width=width,
            strength=strength,
            num_inference_steps=steps,
            controlnet_conditioning_scale=self.weight,
        )


def _pixels(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous() / 255


def _latent_size(pipe: Any, images: np.ndarray) -> tuple[int, int]:
    return images.shape[1] // pipe.vae_scale_factor, images.shape[2] // pipe.vae_scale_factor


def _shrink(masks: np.ndarray, height: int, width: int) -> Tensor:
    """(N, H, W) bool -> (N, 1, height, width) bool: cells of which at least half is set."""
    rows, columns = masks.shape[1] // height, masks.shape[2] // width
    share = masks.reshape(len(masks), height, rows, width, columns).mean((2, 4))
    return torch.from_numpy(share >= 0.5)[:, None]

"""Text-to-image and depth-to-image by diffusers, in batches, with one random stream per image.

Streams live on the CPU, so that an image follows from its seed on any device and, but for the last bit of rounding, in
any batch.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.models.depth import inverse_depth
from factory.models.device import quiet_diffusers
from factory.models.locate import locate

LIBRARIES = {"diffusers", "transformers"}  # that a model folder may name classes of


class _Pipeline:
    """What both adapters share: loading, prompts, seeds, pixels."""

    def __init__(
        self, pipeline: type, model: str, dtype: str, device: str | torch.device, revision: str | None, **absent: Any
    ) -> None:
        self.pipe = _load(pipeline, model, dtype, revision, **absent).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.device = torch.device(device)
        self._embed_one = functools.lru_cache(maxsize=512)(self._encode)

    def _encode(self, text: str) -> Tensor:
        return self.pipe.encode_prompt([text], self.device, 1, False)[0]

    def _embed(self, texts: list[str]) -> Tensor:
        return torch.cat([self._embed_one(text) for text in texts])

    @torch.inference_mode()
    def _run(self, prompts: list[str], negative_prompt: str, seeds: list[int], **arguments: Any) -> np.ndarray:
        images = self.pipe(
            prompt_embeds=self._embed(prompts),
            negative_prompt_embeds=self._embed([negative_prompt] * len(prompts)),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
            **arguments,
        ).images
        if not np.isfinite(images).all():
            raise ValueError("the diffusion model returned NaN; a wider dtype may help")
        return np.ascontiguousarray((images * 255).round().astype(np.uint8))  # not in the model's memory order


class TextToImage(_Pipeline):
    """Any folder or hub id that diffusers' StableDiffusionPipeline loads."""

    def __init__(
        self, model: str, dtype: str = "float32", device: str | torch.device = "cpu", revision: str | None = None
    ) -> None:
        quiet_diffusers()
        from diffusers import StableDiffusionPipeline

        absent = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        super().__init__(StableDiffusionPipeline, model, dtype, device, revision, **absent)

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
            height=size,
            width=size,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
        )


class DepthToImage(_Pipeline):
    """Any folder or hub id that diffusers' StableDiffusionDepth2ImgPipeline loads; its depth estimator is not used."""

    def __init__(
        self, model: str, dtype: str = "float32", device: str | torch.device = "cpu", revision: str | None = None
    ) -> None:
        quiet_diffusers()
        from factory.models.depth2img import HumanRegionDepth2Img

        absent = {"depth_estimator": None, "feature_extractor": None}
        super().__init__(HumanRegionDepth2Img, model, dtype, device, revision, **absent)

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
        factor = self.pipe.vae_scale_factor
        height, width = images.shape[1] // factor, images.shape[2] // factor
        depth_map = np.stack([inverse_depth(depth, height, width) for depth in depths])
        self.pipe.region = None if regions is None else _shrink(regions, height, width)
        return self._run(
            prompts,
            negative_prompt,
            seeds,
            image=torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous() / 255,
            depth_map=torch.from_numpy(depth_map),
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
        )


def _shrink(masks: np.ndarray, height: int, width: int) -> Tensor:
    """(N, H, W) bool -> (N, 1, height, width) bool: cells of which at least half is set."""
    rows, columns = masks.shape[1] // height, masks.shape[2] // width
    share = masks.reshape(len(masks), height, rows, width, columns).mean((2, 4))
    return torch.from_numpy(share >= 0.5)[:, None]


def _load(pipeline: Any, model: str, dtype: str, revision: str | None, **absent: Any) -> Any:
    """Only safetensors, no code from the folder, no network for a local one."""
    folder = locate(model)
    if folder is not None:
        index = folder / "model_index.json"
        if not index.is_file():
            raise UserError(f"diffusion model {model}: no model_index.json; give a diffusers folder")
        parts = [value for value in json.loads(index.read_text()).values() if isinstance(value, list)]
        strange = {str(library) for library, _ in parts if library} - LIBRARIES - {"stable_diffusion"}
        if strange:
            raise UserError(f"diffusion model {model}: names classes of {', '.join(sorted(strange))}; not run")
    try:
        return pipeline.from_pretrained(
            str(folder or model),
            revision=revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=folder is not None,
            **absent,
        )
    except (OSError, ValueError) as error:
        raise UserError(f"diffusion model {model} does not load: {str(error).splitlines()[0]}") from error

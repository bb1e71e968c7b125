"""A latent diffusion model as a training sees it: images to latents, prompts to conditions, latents to a prediction.

Stable Diffusion 1.x and 2.x, the depth-to-image model of 2.x, and SDXL. Shapes: N images, latents of (C, h, w).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.geometry.depth import inverse_depth
from factory.models.diffusion.layout import Layout
from factory.models.diffusion.pipelines import load_pipeline
from factory.models.diffusion.prompt_cache import PromptCache
from factory.models.diffusion.prompt_length import PromptReader
from factory.training.tensors import images_to_tensor
from factory.weights.catalogue import DIFFUSION, release

DEPTH, XL = "StableDiffusionDepth2ImgPipeline", "StableDiffusionXLPipeline"
KINDS = ("StableDiffusionPipeline", DEPTH, XL)
FEW = 32  # rows of latents up to which attention on a CPU is a third faster without the fused kernel
AT_ONCE = 8  # images that go through the autoencoder together


class LatentModel:
    """The networks of a model, float32: the UNet may learn, the others stay as they are.

    takes_depth: it is a depth-to-image model. size: px of the images that it was trained on. prompts: their conditions,
    each encoded once. prediction: what its UNet predicts. alphas (T,): the cumulative products of its noise schedule.
    """

    def __init__(
        self, model: str, revision: str | None = None, variant: str | None = None, device: str | torch.device = "cpu"
    ) -> None:
        """UserError when the model is missing, damaged, or of another kind than KINDS."""
        try:
            self.layout = Layout.of(model, revision)
            name = self.layout.name
        except UserError as error:
            raise UserError(f"{error}{release(DIFFUSION, model).remedy}") from error
        if name not in KINDS:
            says = "Stable Diffusion 1.x, 2.x, its depth-to-image model, and SDXL can be fine-tuned"
            raise UserError(f"diffusion model {model} is a {name}; {says}")
        self.takes_depth = name == DEPTH
        (self.layout.require_depth if self.takes_depth else self.layout.require_text)()
        import diffusers

        self.device = torch.device(device)
        self.pipe = load_pipeline(getattr(diffusers, name), self.layout, "float32", variant).to(self.device)
        self.unet = self.pipe.unet
        for part in self.pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()
        sample = self.unet.config.sample_size
        if self.device.type == "cpu" and np.max(sample) <= FEW:
            from diffusers.models.attention_processor import AttnProcessor

            self.unet.set_attn_processor(AttnProcessor())
        self.factor: int = self.pipe.vae_scale_factor
        self.size = int(sample if isinstance(sample, int) else sample[0]) * self.factor
        self.prompts, self.reader = PromptCache(self.pipe), PromptReader(self.layout)
        scheduler = diffusers.DDIMScheduler.from_config(self.pipe.scheduler.config)
        self.prediction, self.alphas = scheduler.config.prediction_type, scheduler.alphas_cumprod.to(self.device)

    def require_size(self, size: int) -> None:
        """UserError: images of `size` px do not fit the networks."""
        step = self.factor * 2 ** (len(self.unet.config.down_block_types) - 1)
        if size % step:
            raise UserError(f"--size {size}: this model takes multiples of {step} px, such as {self.size}")

    @torch.no_grad()
    def encode(self, images: np.ndarray) -> Tensor:
        """images (N, S, S, 3) uint8 -> (N, C, h, w) float32: the latents that are denoised, on the CPU."""
        vae, batches = self.pipe.vae, []
        config = vae.config
        mean, deviation = (
            None if (values := getattr(config, name, None)) is None else torch.tensor(values).view(1, -1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )  # fmt: skip
        for i in range(0, len(images), AT_ONCE):
            latents = vae.encode(images_to_tensor(images[i : i + AT_ONCE]).to(self.device)).latent_dist.mode().cpu()
            if mean is not None and deviation is not None:
                latents = (latents - mean) / deviation
            batches.append(latents * config.scaling_factor)
        return torch.cat(batches)

    def control(self, depth: np.ndarray) -> np.ndarray:
        """depth: d* (S, S) m -> (1, h, w) float32: what the UNet gets beside the latents, scaled to -1 ... 1 as the
        pipeline scales it. ValueError for an empty map."""
        size = len(depth) // self.factor
        control = inverse_depth(depth, size, size)
        low, high = control.min(), control.max()
        return (2 * (control - low) / max(float(high - low), 1e-6) - 1)[None]

    def conditions(self, prompts: list[str], sides: list[float], size: int) -> dict[str, Tensor]:
        """What the UNet is told beside latents and time, for N images of `size` px: `words` (N, T, D), and for SDXL
        `pooled` (N, E) and `times` (N, 6): height and width that each image was scaled from (sides, px), the corner of
        its crop, height and width now."""
        encoded = {name: value.float() for name, value in self.prompts.arguments(prompts, None).items()}
        if getattr(self.pipe.config, "force_zeros_for_empty_prompt", False):  # as SDXL was trained, see `PromptCache`
            for row in (i for i, prompt in enumerate(prompts) if not prompt):
                for value in encoded.values():
                    value[row] = 0
        told = {"words": encoded["prompt_embeds"]}
        if self.layout.name == XL:
            told["pooled"] = encoded["pooled_prompt_embeds"]
            rows = [[side, side, 0, 0, size, size] for side in sides]
            told["times"] = torch.tensor(rows, dtype=torch.float32, device=self.device)
        return told

    def predict(self, batch: dict[str, Tensor]) -> Tensor:
        """The UNet's prediction (N, C, h, w) for `noisy` (N, C, h, w), `time` (N,), the conditions and, for a
        depth-to-image model, `depth` (N, 1, h, w)."""
        noisy = torch.cat([batch["noisy"], batch["depth"]], 1) if self.takes_depth else batch["noisy"]
        added = {"text_embeds": batch["pooled"], "time_ids": batch["times"]} if "pooled" in batch else None
        return self.unet(noisy, batch["time"], batch["words"], added_cond_kwargs=added).sample

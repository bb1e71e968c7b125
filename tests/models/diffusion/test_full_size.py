"""Stable Diffusion 1.4 and 2-depth at full width: files of their layouts and sizes load, and take a step at 512 px.

Minutes of work and gigabytes of files: only with `pytest -m slow`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from tests.support.tiny_models import text_parts

# As their hubs' config.json say.
WIDE = {
    "sample_size": 64,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 2,
}
SD14 = {**WIDE, "in_channels": 4, "attention_head_dim": 8, "cross_attention_dim": 768}
SD2_DEPTH = {
    **WIDE,
    "in_channels": 5,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}


def _write(folder: Path, unet: dict, depth: bool) -> Path:
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionDepth2ImgPipeline,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)  # random numbers of half the bytes
    try:
        width = unet["cross_attention_dim"]
        size = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 64}
        tokenizer = text_parts()["tokenizer"]
        marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        text = CLIPTextModel(CLIPTextConfig(num_hidden_layers=23 if depth else 12, **size, **marks))
        parts = {"unet": UNet2DConditionModel(**unet), "vae": AutoencoderKL(**VAE), "text_encoder": text}
    finally:
        torch.set_default_dtype(torch.float32)
    parts |= {"tokenizer": tokenizer, "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False)}
    absent = {"feature_extractor": None}
    if depth:
        pipe = StableDiffusionDepth2ImgPipeline(**parts, depth_estimator=None, **absent)
    else:
        pipe = StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False, **absent)
    pipe.to(torch.float16).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_stable_diffusion_14_takes_a_step(tmp_path):
    model = TextToImage(str(_write(tmp_path, SD14, depth=False)), "bfloat16")
    assert sum(p.numel() for p in model.pipe.unet.parameters()) == 859_520_964
    images = model.generate(["a man diving"], [1], 512, steps=1)
    assert images.shape == (1, 512, 512, 3) and images.std() > 0


@pytest.mark.slow
def test_stable_diffusion_2_depth_takes_a_step(tmp_path):
    model = DepthToImage(str(_write(tmp_path, SD2_DEPTH, depth=True)), "bfloat16")
    assert sum(p.numel() for p in model.pipe.unet.parameters()) == 865_913_604
    picture = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), np.uint8)
    depth = np.zeros((1, 512, 512), np.float32)
    depth[:, 100:400, 150:350] = np.linspace(20, 21, 200)
    images = model.refine(picture, depth, ["a man diving"], [1], steps=1, strength=1.0)
    assert images.shape == (1, 512, 512, 3) and images.std() > 0

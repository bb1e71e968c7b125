"""Tiny models with random weights, saved in the layouts that jobs point at, and a job on them: they prove layouts and
what a stage does, never quality."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.job import JobSpec
from tests.support.records import SIZE

TinyJob = Callable[..., JobSpec]

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 3438167540\n"
LONG = " ".join(["a man diving into the deep blue sea"] * 20)  # the tokenizers' tokens are letters
VPOSER_INI = "[All]\nnum_neurons : 64\nlatentD : 32\ndata_shape : [1, 21, 3]\n"


def text_parts() -> dict[str, Any]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [letter + end for letter in string.ascii_lowercase for end in ("", "</w>")]
    vocab = {token: i for i, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    config = CLIPTextConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=len(vocab) - 2,
        eos_token_id=len(vocab) - 1,
    )
    tokenizer = CLIPTokenizer(vocab=vocab, merges=[], model_max_length=16)
    return {"tokenizer": tokenizer, "text_encoder": CLIPTextModel(config)}


def latent_parts(depth: bool, channels: int = 8) -> dict[str, Any]:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    blocks = 4
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=2,
        latent_channels=channels,
        mid_block_add_attention=False,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=9 if depth else 8,
        out_channels=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        norm_num_groups=2,
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=16,
    )
    scheduler = DDIMScheduler(prediction_type="v_prediction", steps_offset=1, clip_sample=False)
    return {"vae": vae, "unet": unet, "scheduler": scheduler}


@pytest.fixture(scope="session")
def tiny_text_to_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from diffusers import StableDiffusionPipeline

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("text-to-image")
    pipe = StableDiffusionPipeline(
        **text_parts(),
        **latent_parts(depth=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_depth_to_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from diffusers import StableDiffusionDepth2ImgPipeline

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("depth-to-image")
    parts = {**text_parts(), **latent_parts(depth=True)}
    pipe = StableDiffusionDepth2ImgPipeline(**parts, depth_estimator=None, feature_extractor=None)
    pipe.to(torch.float16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_hmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from safetensors.torch import save_file

    from factory.models.hmr.spin import SpinHMR

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hmr")
    network = SpinHMR([1, 1, 1, 1], 8, 32, 64)
    (folder / "config.json").write_text(json.dumps(network.config))
    halves = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file(halves, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def tiny_vposer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published v1 layout. Its Python file hands out the installed package's class, as the published one is."""
    import torch
    from human_body_prior.train.vposer_smpl import VPoser

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vposer")
    (folder / "snapshots").mkdir()
    torch.save(VPoser(64, 32, [1, 21, 3]).state_dict(), folder / "snapshots" / "TR00_E001.pt")
    (folder / "TR00_tiny.ini").write_text(VPOSER_INI)
    (folder / "vposer_smpl.py").write_text("from human_body_prior.train.vposer_smpl import VPoser  # noqa: F401\n")
    return folder


@pytest.fixture(scope="session")
def tiny_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("detector")
    config = Mask2FormerConfig(
        backbone_config=SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        num_queries=5,
        id2label={0: "person", 1: "bar"},
        label2id={"person": 0, "bar": 1},
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessor(do_resize=False, size_divisor=32, ignore_index=255).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.families import save

    return save("sdxl", tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.families import save

    return save("flux-dev", tmp_path_factory.mktemp("flux"))


@pytest.fixture
def tiny_job(
    values: dict,
    tiny_text_to_image: Path,
    tiny_hmr: Path,
    tiny_vposer: Path,
    tiny_detector: Path,
    tiny_depth_to_image: Path,
) -> TinyJob:
    """tiny_job(estimate={"easy": "drop"}) -> a job on the tiny models, with these fields of its stages changed."""
    values["image_size"] = SIZE
    stages: dict[str, Any] = values["stages"]
    stages["generate"]["model"] = str(tiny_text_to_image)
    stages["estimate"]["hmr"]["model"] = str(tiny_hmr)
    stages["estimate"]["prior"]["model"] = str(tiny_vposer)
    stages["estimate"]["detector"] |= {"model": str(tiny_detector), "threshold": 0.0}
    stages["refine"] |= {"model": str(tiny_depth_to_image), "steps": 10}

    def make(**changes: dict) -> JobSpec:
        changed = copy.deepcopy(values)
        for stage, fields in changes.items():
            for name, value in fields.items():
                spec = changed["stages"].setdefault(stage, {})
                spec[name] = {**spec[name], **value} if isinstance(value, dict) else value
        return JobSpec(**changed)

    return make

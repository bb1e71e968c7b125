"""Adapters over diffusion models: LoRA and attention processors, for the models that they were trained on only."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from factory.errors import UserError
from factory.models.diffusion.text_to_image import TextToImage
from tests.support.families import lora
from tests.support.images import apart

PROMPTS, SEEDS = ["a man diving", "a woman running"], [11, 12]


def test_flux_takes_a_lora(tiny_flux, tmp_path):
    pytest.importorskip("peft")
    plain, random, state = TextToImage(str(tiny_flux)), torch.Generator().manual_seed(0), {}
    for layer, module in plain.pipe.transformer.named_modules():
        if layer.endswith("attn.to_v"):  # queries and keys are normed
            state[f"transformer.{layer}.lora_A.weight"] = torch.randn(2, module.in_features, generator=random)
            state[f"transformer.{layer}.lora_B.weight"] = torch.randn(module.out_features, 2, generator=random)
    save_file(state, tmp_path / "pytorch_lora_weights.safetensors")
    tuned = TextToImage(str(tiny_flux), adapter=str(tmp_path))
    images = [model.generate(PROMPTS[:1], SEEDS[:1], 64, steps=2) for model in (plain, tuned)]
    assert apart(*images) > 2


@pytest.mark.parametrize("name", ["unet.{}.processor.{}_lora", "{}.processor.{}_lora"], ids=["lora", "attention"])
def test_adapters_change_the_picture_by_their_scale(tiny_text_to_image, tmp_path, name):
    pytest.importorskip("peft")
    plain = TextToImage(str(tiny_text_to_image))
    lora(tmp_path / "pytorch_lora_weights.safetensors", plain.pipe.unet, name)
    images = [plain.generate(PROMPTS[:1], SEEDS[:1], 64, steps=2)]
    for scale in (0.0, 1.0):
        model = TextToImage(str(tiny_text_to_image), adapter=str(tmp_path), adapter_scale=scale)
        images.append(model.generate(PROMPTS[:1], SEEDS[:1], 64, steps=2))
    assert apart(images[0], images[1]) <= 1 and apart(images[0], images[2]) > 2


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_attention_processors_of_custom_diffusion_change_the_picture(tiny_text_to_image, tmp_path, ending):
    """Files as diffusers' train_custom_diffusion.py writes them: keys and values of the attention to words."""
    plain = TextToImage(str(tiny_text_to_image))
    random, state = torch.Generator().manual_seed(0), {}
    for layer, module in plain.pipe.unet.named_modules():
        if layer.endswith(("attn2.to_k", "attn2.to_v")):
            name = f"{layer.rpartition('.')[0]}.processor.{layer.rpartition('.')[2]}_custom_diffusion.weight"
            state[name] = torch.randn(module.weight.shape, generator=random)
        elif layer.endswith("attn1") and ending == "bin":  # they are trained on words alone
            state[f"{layer}.processor"] = {}
    path = tmp_path / f"pytorch_custom_diffusion_weights.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    tuned = TextToImage(str(tiny_text_to_image), adapter=str(tmp_path))
    images = [model.generate(PROMPTS[:1], SEEDS[:1], 64, steps=2) for model in (plain, tuned)]
    assert apart(*images) > 2
    short = {name: value[:, :4].contiguous() for name, value in state.items() if len(value)}
    save_file(short, path) if ending == "safetensors" else torch.save(short, path)
    with pytest.raises(UserError, match="does not fit this model"):
        TextToImage(str(tiny_text_to_image), adapter=str(tmp_path))


def test_bad_adapters_are_refused_in_one_line(tiny_text_to_image, tmp_path):
    pytest.importorskip("peft")
    model, file = str(tiny_text_to_image), tmp_path / "weights.safetensors"
    with pytest.raises(UserError, match="none of pytorch_lora_weights.safetensors"):
        TextToImage(model, adapter=str(tmp_path))
    file.write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(UserError, match="damaged"):
        TextToImage(model, adapter=str(file))
    save_file({"conv.weight": torch.zeros(2)}, file)
    with pytest.raises(UserError, match="neither LoRA nor attention processors"):
        TextToImage(model, adapter=str(file))
    save_file(
        {
            "unet.elsewhere.to_q.lora_A.weight": torch.zeros(2, 8),
            "unet.elsewhere.to_q.lora_B.weight": torch.zeros(8, 2),
        },
        file,
    )
    with pytest.raises(UserError, match="was it trained on another"):
        TextToImage(model, adapter=str(file))


def test_an_adapter_of_other_widths_is_refused(tiny_text_to_image, tmp_path):
    pytest.importorskip("peft")
    file = lora(tmp_path / "a.safetensors", TextToImage(str(tiny_text_to_image)).pipe.unet, "unet.{}.processor.{}_lora")
    save_file({name: value[:, :1].contiguous() for name, value in load_file(file).items()}, file)
    with pytest.raises(UserError, match="does not fit this model .*was it trained on another"):
        TextToImage(str(tiny_text_to_image), adapter=str(file))

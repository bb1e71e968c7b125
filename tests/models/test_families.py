"""Families of text-to-image models and the ControlNet refiner, tiny and in the layout of their hubs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from factory.errors import UserError
from factory.models.diffusion import ControlNetToImage, TextToImage
from tests.models.conftest import _latent_parts, _text_parts
from tests.models.test_diffusion import apart

PROMPTS, SEEDS = ["a man diving", "a woman running"], [11, 12]


def _unet(xl: bool) -> dict:
    more = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4} if xl else {}
    return {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "attention_head_dim": 4,
        "cross_attention_dim": 32 if xl else 16,
        "projection_class_embeddings_input_dim": 16 + 6 * 4 if xl else None,
        **more,
    }


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two text encoders, the second with a projection; the UNet is told sizes; a VAE of four channels."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModelWithProjection

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sdxl")
    first, second = _text_parts(), _text_parts()
    config = second["text_encoder"].config
    config.projection_dim = 16
    latent = _latent_parts(depth=False, channels=4)
    pipe = StableDiffusionXLPipeline(
        vae=latent["vae"],
        unet=UNet2DConditionModel(sample_size=8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **_unet(xl=True)),
        scheduler=latent["scheduler"],
        text_encoder=first["text_encoder"],
        tokenizer=first["tokenizer"],
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer_2=second["tokenizer"],
    )
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer that is told its guidance, CLIP's summary beside T5's words, a VAE with a shift of its latents."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    torch.manual_seed(0)
    folder, letters = tmp_path_factory.mktemp("flux"), [(letter, -3.0) for letter in "\u2581abcdefghijklmnopqrstuvwxyz"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters]
    words = Tokenizer(models.Unigram(pieces, unk_id=2))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    small = _latent_parts(depth=False, channels=4)["vae"].config
    vae = {**small, "use_quant_conv": False, "use_post_quant_conv": False, "scaling_factor": 0.36, "shift_factor": 0.12}
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=AutoencoderKL(**{name: value for name, value in vae.items() if not name.startswith("_")}),
        **_text_parts(),
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=len(pieces), **sizes)),
        tokenizer_2=T5TokenizerFast(tokenizer_object=words, extra_ids=0, model_max_length=16),
        transformer=FluxTransformer2DModel(
            in_channels=16,  # two by two latents
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
    )
    pipe.save_pretrained(folder)
    return folder


def _controlnet(folder: Path, xl: bool, channels: int) -> Path:
    from diffusers import ControlNetModel

    torch.manual_seed(1)
    network = ControlNetModel(in_channels=channels, conditioning_embedding_out_channels=(4, 4, 8, 8), **_unet(xl))
    for name, value in network.named_parameters():  # ControlNets begin as zeros, which would show nothing
        if name.startswith(("controlnet_", "controlnet_cond_embedding.conv_out")):
            torch.nn.init.normal_(value, std=0.5)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["sd", "sdxl"])
def refiner(request, tmp_path_factory, tiny_text_to_image, tiny_sdxl) -> ControlNetToImage:
    xl = request.param == "sdxl"
    hints = _controlnet(tmp_path_factory.mktemp("controlnet"), xl, 4 if xl else 8)
    return ControlNetToImage(str(tiny_sdxl if xl else tiny_text_to_image), str(hints))


@pytest.fixture
def inputs() -> dict:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    depths = np.zeros((2, 64, 64), np.float32)
    depths[:, 8:48, 16:40] = np.linspace(20, 21, 24)
    return dict(images=images, depths=depths, prompts=PROMPTS, seeds=SEEDS, steps=4)


def test_a_controlnet_follows_its_own_depth(refiner, inputs):
    seen = []
    handle = refiner.pipe.controlnet.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["controlnet_cond"]), with_kwargs=True
    )
    images = refiner.refine(**inputs)
    handle.remove()
    assert images.shape == (2, 64, 64, 3) and images.dtype == np.uint8
    hint = seen[0][0]  # image size, three equal channels in [0, 1], near = 1, a gap behind
    assert hint.shape == (3, 64, 64) and hint.min() == 0 and hint.max() == 1 and torch.equal(hint[0], hint[2])
    assert (hint[0, 20, 16:40].diff() < 0).all() and 0.4 < hint[0, 20, 39] < 0.5
    inputs["depths"] = inputs["depths"].copy()
    inputs["depths"][1] = np.roll(inputs["depths"][1], 16, 1)
    moved = refiner.refine(**inputs)
    assert apart(moved[0], images[0]) == 0 and apart(moved[1], images[1]) > 0


def test_the_human_region_starts_from_noise(refiner, inputs):
    starts = []
    handle = refiner.pipe.unet.register_forward_pre_hook(lambda _, args: starts.append(args[0][:2]))
    regions = np.zeros((2, 64, 64), bool)
    regions[:, :, :24] = True
    refiner.refine(**inputs)
    count = len(starts)
    refiner.refine(**inputs, regions=regions)
    handle.remove()
    before, after = starts[0], starts[count]
    assert torch.equal(before[..., 3:], after[..., 3:]) and not torch.isclose(before[..., :3], after[..., :3]).any()


def test_sdxl_draws_prompts_and_ignores_the_batch(tiny_sdxl):
    model = TextToImage(str(tiny_sdxl))
    together = model.generate(PROMPTS, SEEDS, 64, steps=2, guidance_scale=3.0)
    alone = model.generate(PROMPTS[1:], SEEDS[1:], 64, steps=2, guidance_scale=3.0)
    assert apart(together[1], alone[0]) <= 1
    other = model.generate(["a child"], SEEDS[1:], 64, steps=2, guidance_scale=3.0)
    against = model.generate(PROMPTS[1:], SEEDS[1:], 64, steps=2, guidance_scale=3.0, negative_prompt="blue")
    assert apart(alone[0], other[0]) > 0 and apart(alone[0], against[0]) > 0
    theirs = model.pipe(  # texts, not our cached embeddings
        PROMPTS[1], num_inference_steps=2, guidance_scale=3.0, height=64, width=64, output_type="np",
        generator=torch.Generator().manual_seed(SEEDS[1]),
    ).images[0]  # fmt: skip
    assert apart((theirs * 255).round().astype(np.uint8), alone[0]) <= 1


def test_flux_draws_prompts_under_its_own_guidance(tiny_flux, tmp_path):
    model = TextToImage(str(tiny_flux))
    together = model.generate(PROMPTS, SEEDS, 64, steps=2, guidance_scale=3.5)
    assert together.shape == (2, 64, 64, 3) and together.std() > 0
    alone = model.generate(PROMPTS[1:], SEEDS[1:], 64, steps=2, guidance_scale=3.5)
    assert apart(together[1], alone[0]) <= 1
    other = model.generate(["a child"], SEEDS[1:], 64, steps=2, guidance_scale=3.5)
    stronger = model.generate(PROMPTS[1:], SEEDS[1:], 64, steps=2, guidance_scale=9.0)
    assert apart(alone[0], other[0]) > 0 and apart(alone[0], stronger[0]) > 0
    theirs = model.pipe(  # texts, not our cached embeddings
        PROMPTS[1], num_inference_steps=2, guidance_scale=3.5, height=64, width=64, output_type="np",
        generator=torch.Generator().manual_seed(SEEDS[1]),
    ).images[0]  # fmt: skip
    assert apart((theirs * 255).round().astype(np.uint8), alone[0]) <= 1
    with pytest.raises(ValueError, match="negative_prompt: FluxPipeline takes none"):
        model.generate(PROMPTS, SEEDS, 64, steps=1, negative_prompt="blue")
    with pytest.raises(UserError, match="scheduler ddim does not fit"):
        TextToImage(str(tiny_flux), scheduler="ddim")


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


def test_each_prompt_is_encoded_once(tiny_text_to_image):
    model = TextToImage(str(tiny_text_to_image))
    calls = []
    model.pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(2):
        model.generate([*PROMPTS, PROMPTS[0]], [1, 2, 3], 64, steps=1)
    assert len(calls) == 3  # two prompts and the empty one
    model.prompts.limit = 1  # no room: the newest stays
    model.generate(["a child"], SEEDS[:1], 64, steps=1)
    assert len(model.prompts.kept) == 1


def test_another_scheduler(tiny_text_to_image):
    images = [
        TextToImage(str(tiny_text_to_image), scheduler=name).generate(PROMPTS[:1], SEEDS[:1], 64, steps=3)
        for name in (None, "euler-a", "dpm++")
    ]
    assert apart(images[0], images[1]) > 0 and apart(images[0], images[2]) > 0


def test_memory_can_be_saved(tiny_text_to_image):
    plain = TextToImage(str(tiny_text_to_image)).generate(PROMPTS, SEEDS, 64, steps=2)
    sliced = TextToImage(str(tiny_text_to_image), save_memory="slices").generate(PROMPTS, SEEDS, 64, steps=2)
    assert apart(plain, sliced) <= 1
    with pytest.raises(UserError, match="offload.*GPU"):
        TextToImage(str(tiny_text_to_image), save_memory="offload")


def _lora(path: Path, unet: torch.nn.Module, name: str, rows: int = 2) -> Path:
    """A file as diffusers' training scripts write it: up and down of some attention layers."""
    random = torch.Generator().manual_seed(0)
    state = {}
    for layer, module in unet.named_modules():
        if layer.endswith(("attn1.to_q", "attn2.to_v")):
            key = name.format(layer.rpartition(".")[0], layer.rpartition(".")[2])
            state[f"{key}.down.weight"] = torch.randn(rows, module.in_features, generator=random)
            state[f"{key}.up.weight"] = torch.randn(module.out_features, rows, generator=random)
    save_file(state, path)
    return path


@pytest.mark.parametrize("name", ["unet.{}.processor.{}_lora", "{}.processor.{}_lora"], ids=["lora", "attention"])
def test_adapters_change_the_picture_by_their_scale(tiny_text_to_image, tmp_path, name):
    pytest.importorskip("peft")
    plain = TextToImage(str(tiny_text_to_image))
    _lora(tmp_path / "pytorch_lora_weights.safetensors", plain.pipe.unet, name)
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
    file = _lora(
        tmp_path / "a.safetensors", TextToImage(str(tiny_text_to_image)).pipe.unet, "unet.{}.processor.{}_lora"
    )
    save_file({name: value[:, :1].contiguous() for name, value in load_file(file).items()}, file)
    with pytest.raises(UserError, match="does not fit this model .*was it trained on another"):
        TextToImage(str(tiny_text_to_image), adapter=str(file))


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_a_file_that_lacks_layers_is_no_model(tiny_text_to_image, tmp_path, part):
    """diffusers and transformers would fill them with random numbers."""
    folder = shutil.copytree(tiny_text_to_image, tmp_path / "poor")
    file = next((folder / part).glob("*.safetensors"))
    state = load_file(file)
    gone = sorted(name for name in state if name.endswith("weight"))[0]
    for change in ({}, {gone: torch.zeros(3, 3)}):
        rest = {name: value for name, value in state.items() if name != gone}
        save_file({**rest, **change}, file, {"format": "pt"})
        with pytest.raises(UserError, match=f"folder {part}: .*fetch it again"):
            TextToImage(str(folder))
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match=f"folder {part}: does not load.*fetch it again"):
        TextToImage(str(folder))


def test_bad_controlnets_are_refused_in_one_line(tiny_text_to_image, tmp_path):
    def refused(words: str, model: Path) -> None:
        with pytest.raises(UserError, match=words):
            ControlNetToImage(str(tiny_text_to_image), str(model))

    refused("model not found: /no/such/folder", Path("/no/such/folder"))
    folder = _controlnet(tmp_path / "depth", False, 8)
    file = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    name = sorted(state)[0]
    save_file({key: value for key, value in state.items() if key != name}, file)
    refused(f"ControlNet .*depth: its file lacks 1 layers, first {name}", folder)
    save_file({**state, name: torch.zeros(3, 3)}, file)
    refused("ControlNet .*depth: .*fetch it again", folder)
    file.write_bytes(file.read_bytes()[:-100])
    refused("ControlNet .*depth: does not load.*fetch it again", folder)


def test_a_depth_model_is_no_text_to_image_model(tiny_depth_to_image, tmp_path):
    with pytest.raises(UserError, match="does not load"):
        TextToImage(str(tiny_depth_to_image))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "X", "unet": ["diffusers", "NoSuchUNet"]}))
    with pytest.raises(UserError, match="NoSuchUNet, which is not known here"):
        TextToImage(str(tmp_path))

"""Families of text-to-image models and the ControlNet refiner, tiny and in the layout of their hubs."""

import json
import shutil
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from factory.errors import UserError
from factory.models.diffusion.controlnet import ControlNetToImage
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from tests.support.families import FAMILIES, lora, save, unet
from tests.support.images import apart

pytestmark = pytest.mark.heavy(0.4)

PROMPTS, SEEDS = ["a man diving", "a woman running"], [11, 12]


def _controlnet(folder: Path, xl: bool, channels: int) -> Path:
    from diffusers import ControlNetModel

    torch.manual_seed(1)
    config = {key: value for key, value in unet(xl).config.items() if key in signature(ControlNetModel).parameters}
    network = ControlNetModel(
        **{**config, "in_channels": channels, "conditioning_embedding_out_channels": (4, 4, 8, 8)}
    )
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
    return {"images": images, "depths": depths, "prompts": PROMPTS, "seeds": SEEDS, "steps": 4}


GUIDES = [family for family in FAMILIES if family not in ("flux-schnell", "flux2-klein-distilled")]


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """family(name) -> its TextToImage, loaded once."""
    loaded: dict[str, TextToImage] = {}

    def load(name: str) -> TextToImage:
        if name not in loaded:
            loaded[name] = TextToImage(str(save(name, tmp_path_factory.mktemp(name))))
        return loaded[name]

    return load


@pytest.mark.parametrize("name", GUIDES)
def test_guidance_1_and_5_draw_different_images(family, name):
    model = family(name)
    weak, strong = (model.generate(PROMPTS[:1], SEEDS[:1], 64, 2, scale) for scale in (1.0, 5.0))
    assert weak.shape == (1, 64, 64, 3) and weak.std() > 0 and apart(weak, strong) > 2


@pytest.mark.parametrize("name", FAMILIES)
def test_an_image_of_any_family_depends_on_its_own_prompt_and_on_no_other(family, name):
    model, prompts = family(name), ["a man diving into the deep blue sea with a very red ball", "a woman"]
    scale = 5.0 if name in GUIDES else 1.0
    together = model.generate(prompts, SEEDS, 64, 2, scale)
    alone = model.generate(prompts[1:], SEEDS[1:], 64, 2, scale)
    other = model.generate(["a child"], SEEDS[1:], 64, 2, scale)
    assert apart(together[1], alone[0]) <= 1 < apart(alone[0], other[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_negative_prompt_changes_the_image_or_is_refused(family, name):
    model = family(name)
    scale = 5.0 if name in GUIDES else 1.0
    plain = model.generate(PROMPTS[:1], SEEDS[:1], 64, 2, scale)
    if name in ("sd-lcm", "flux-dev", "flux-schnell", "flux2", "flux2-klein", "flux2-klein-distilled"):
        with pytest.raises(UserError, match=r"^negative_prompt: \w+ takes none, so it would have no effect; set it to"):
            model.generate(PROMPTS[:1], SEEDS[:1], 64, 2, scale, "deformed")
    else:
        against = model.generate(PROMPTS[:1], SEEDS[:1], 64, 2, scale, "deformed")
        assert apart(plain, against) > 0


@pytest.mark.parametrize("name", [family for family in FAMILIES if family not in GUIDES])
def test_guidance_that_a_distilled_model_ignores_is_refused(family, name):
    with pytest.raises(UserError, match=r"guidance_scale: this \w+ takes no guidance .* set it to 1$"):
        family(name).generate(PROMPTS[:1], SEEDS[:1], 64, 2, 5.0)


def test_a_negative_prompt_without_guidance_is_refused(family):
    with pytest.raises(UserError, match="negative_prompt: it has no effect with a guidance_scale of 1 or less"):
        family("sd1").generate(PROMPTS[:1], SEEDS[:1], 64, 2, 1.0, "deformed")


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
    with pytest.raises(UserError, match="negative_prompt: FluxPipeline takes none"):
        model.generate(PROMPTS, SEEDS, 64, steps=1, negative_prompt="blue")
    with pytest.raises(UserError, match="scheduler ddim does not fit"):
        TextToImage(str(tiny_flux), scheduler="ddim")


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
    with pytest.raises(UserError, match=f"folder {part}: .* is cut short: .*fetch it again"):
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
    refused("ControlNet .*depth: .* is cut short: .*fetch it again", folder)


def test_a_depth_model_is_no_text_to_image_model(tiny_depth_to_image, tmp_path):
    with pytest.raises(UserError, match="is depth-to-image .*; a text-to-image model is wanted"):
        TextToImage(str(tiny_depth_to_image))
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "NoSuchUNet"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="NoSuchUNet, which is not known here"):
        TextToImage(str(tmp_path))


@pytest.mark.parametrize("name", ["sd1", "sdxl", "flux-dev"])
def test_a_text_to_image_model_is_no_depth_model(tmp_path, name):
    with pytest.raises(UserError, match="is text-to-image .*; depth-to-image is wanted.* or take kind: controlnet"):
        DepthToImage(str(save(name, tmp_path)))


def test_models_that_draw_no_single_image_from_text_are_named(tmp_path):
    for kind in ("WanPipeline", "StableDiffusionControlNetInpaintPipeline", "NoSuchPipeline"):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind}))
        with pytest.raises(UserError, match=f"is a {kind}; a text-to-image model is wanted"):
            TextToImage(str(tmp_path))


def test_an_inpainting_model_is_no_text_to_image_model(tmp_path, tiny_sdxl):
    folder = shutil.copytree(tiny_sdxl, tmp_path / "inpainting")
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "in_channels": 9}))
    with pytest.raises(UserError, match="is inpainting .*; a text-to-image model is wanted"):
        TextToImage(str(folder))


@pytest.mark.parametrize("xl", [False, True])
def test_a_controlnet_of_another_family_is_named(tmp_path, tiny_sdxl, xl):
    base = save("sd1", tmp_path / "sd1") if xl else tiny_sdxl
    hints = _controlnet(tmp_path / "hints", xl, 4)
    with pytest.raises(UserError, match=r"ControlNet .* is of .*, the model .* of .*; take two of one family"):
        ControlNetToImage(str(base), str(hints))


def test_a_controlnet_union_is_named(tmp_path, tiny_sdxl):
    """Published ones have the config of a plain ControlNet, and layers that it would drop in silence."""
    folder = _controlnet(tmp_path / "hints", True, 4)
    file = folder / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(file), "task_embedding": torch.zeros(6, 4)}, file, {"format": "pt"})
    with pytest.raises(UserError, match="holds 1 layers that a ControlNetModel has not, .*it is a ControlNet-Union"):
        ControlNetToImage(str(tiny_sdxl), str(folder))
    config = json.loads((folder / "config.json").read_text())
    for kind in ("ControlNetUnionModel", "FluxControlNetModel"):
        (folder / "config.json").write_text(json.dumps({**config, "_class_name": kind}))
        with pytest.raises(UserError, match=f"is a {kind}; a depth ControlNet of Stable Diffusion"):
            ControlNetToImage(str(tiny_sdxl), str(folder))


def test_a_controlnet_that_is_a_single_file_or_a_whole_model_is_named(tmp_path, tiny_sdxl, tiny_flux):
    file = tmp_path / "controlnet.safetensors"
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(UserError, match="is a single file; .*Convert it: .*ControlNetModel"):
        ControlNetToImage(str(tiny_sdxl), str(file))
    with pytest.raises(UserError, match="single file; a diffusers folder is wanted. Convert it: .*from_single_file"):
        TextToImage(str(file))
    with pytest.raises(UserError, match=r"is a whole model \(StableDiffusionXLPipeline\)"):
        ControlNetToImage(str(tiny_sdxl), str(tiny_sdxl))
    with pytest.raises(UserError, match="is a FluxPipeline; ControlNets are for SD 1.x"):
        ControlNetToImage(str(tiny_flux), str(_controlnet(tmp_path / "hints", False, 4)))


def test_a_lora_that_fits_in_part_is_refused(tiny_text_to_image, tmp_path):
    """diffusers lays what fits and leaves out the rest in silence."""
    pytest.importorskip("peft")
    unet = TextToImage(str(tiny_text_to_image)).pipe.unet
    file = lora(tmp_path / "a.safetensors", unet, "unet.{}.processor.{}_lora")
    state = load_file(file)
    strange = {name.replace("_blocks.0", "_blocks.7"): value.clone() for name, value in state.items()}
    save_file({**state, **strange}, file)
    with pytest.raises(UserError, match=r"fits \d+ of its \d+ layers only; was it trained on another model"):
        TextToImage(str(tiny_text_to_image), adapter=str(file))


def test_a_lora_of_another_family_is_named(tiny_flux, tmp_path):
    file = tmp_path / "a.safetensors"
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    save_file({f"{name}.lora_A.weight": torch.zeros(2, 768), f"{name}.lora_B.weight": torch.zeros(8, 2)}, file)
    with pytest.raises(UserError, match="is of Stable Diffusion 1.x, the model of a transformer; take one"):
        TextToImage(str(tiny_flux), adapter=str(file))

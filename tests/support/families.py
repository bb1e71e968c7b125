"""Text-to-image pipelines of diffusers' real classes, tiny and with random weights: one builder a family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.support.tiny_models import latent_parts, text_parts

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CHAT = "{% for m in messages %}<|im_start|>{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}\
{% endif %}<|im_end|>{% endfor %}"
WIDTH = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}


def clip(projection: bool = False) -> tuple[Any, Any]:
    """(tokenizer, text encoder)."""
    from transformers import CLIPTextModelWithProjection

    parts = text_parts()
    if not projection:
        return parts["tokenizer"], parts["text_encoder"]
    config = parts["text_encoder"].config
    config.projection_dim = 16
    return parts["tokenizer"], CLIPTextModelWithProjection(config)


def t5(length: int = 16) -> tuple[Any, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -3.0) for letter in "\u2581" + LETTERS)]
    words = Tokenizer(models.Unigram(pieces, unk_id=2))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    config = T5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5TokenizerFast(tokenizer_object=words, extra_ids=0, model_max_length=length), T5EncoderModel(config)


def chat(kind: str, layers: int = 1) -> tuple[Any, Any]:
    """A tokenizer with a chat template, and a language model of transformers of that name."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    vocab = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    words = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    ends = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}
    vocab |= {word: len(vocab) + i for i, word in enumerate(ends.values())}
    words.add_special_tokens(list(ends.values()))
    start = ends["bos_token"]
    words.post_processor = processors.TemplateProcessing(f"{start} $A", special_tokens=[(start, vocab[start])])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, chat_template=CHAT, **ends)
    sizes = {**WIDTH, "num_hidden_layers": layers, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    network, config = getattr(transformers, kind), kind.replace("ForCausalLM", "").removesuffix("Model") + "Config"
    return tokenizer, network(getattr(transformers, config)(**sizes))


def vae(channels: int = 4, shift: bool = False) -> Any:
    from diffusers import AutoencoderKL

    plain = latent_parts(depth=False, channels=channels)["vae"]
    if not shift:
        return plain
    config = {name: value for name, value in plain.config.items() if not name.startswith("_")}
    flow = {"use_quant_conv": False, "use_post_quant_conv": False, "scaling_factor": 0.36, "shift_factor": 0.12}
    return AutoencoderKL(**{**config, **flow})


def flow(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def unet(xl: bool = False, channels: int = 4, extra: int = 0, **options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    config = {
        "sample_size": 8,
        "in_channels": channels + extra,
        "out_channels": channels,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "attention_head_dim": 4,
        "cross_attention_dim": 32 if xl else 16,
    }
    if xl:
        config |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
        config["projection_class_embeddings_input_dim"] = 16 + 6 * 4
    return UNet2DConditionModel(**{**config, **options})


def sd(prediction: str = "epsilon", **options: Any) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    tokenizer, encoder = clip()
    return StableDiffusionPipeline(
        vae=vae(),
        unet=unet(**options),
        tokenizer=tokenizer,
        text_encoder=encoder,
        scheduler=DDIMScheduler(prediction_type=prediction, steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    from diffusers import StableDiffusionXLPipeline

    (one, first), (two, second) = clip(), clip(projection=True)
    return StableDiffusionXLPipeline(
        vae=vae(),
        unet=unet(xl=True),
        scheduler=latent_parts(depth=False)["scheduler"],
        text_encoder=first,
        tokenizer=one,
        text_encoder_2=second,
        tokenizer_2=two,
    )


def sd3() -> Any:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    (one, first), (two, second), (three, third) = clip(projection=True), clip(projection=True), t5()
    network = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=32, out_channels=4,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=network, scheduler=flow(), vae=vae(shift=True), text_encoder=first, tokenizer=one,
        text_encoder_2=second, tokenizer_2=two, text_encoder_3=third, tokenizer_3=three,
    )  # fmt: skip


def flux(told: bool = True) -> Any:
    from diffusers import FluxPipeline, FluxTransformer2DModel

    (one, first), (two, second) = clip(), t5()
    network = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8), guidance_embeds=told,
    )  # fmt: skip
    return FluxPipeline(
        scheduler=flow(use_dynamic_shifting=told), vae=vae(shift=True), transformer=network,
        text_encoder=first, tokenizer=one, text_encoder_2=second, tokenizer_2=two,
    )  # fmt: skip


def _flux2_parts(told: bool) -> dict[str, Any]:
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

    small = AutoencoderKLFlux2(
        block_out_channels=(4, 4, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=2,
        mid_block_add_attention=False,
    )  # fmt: skip
    network = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=96, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=told,
    )  # fmt: skip
    return {"scheduler": flow(use_dynamic_shifting=True), "vae": small, "transformer": network}


def flux2() -> Any:
    import transformers
    from diffusers import Flux2Pipeline

    tokenizer, _ = chat("Qwen3ForCausalLM")
    text = {**WIDTH, "num_hidden_layers": 30, "vocab_size": len(tokenizer)}
    sight = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    config = transformers.Mistral3Config(
        text_config={"model_type": "mistral", **text}, vision_config={"model_type": "pixtral", **sight}
    )
    return Flux2Pipeline(
        text_encoder=transformers.Mistral3ForConditionalGeneration(config), tokenizer=tokenizer, **_flux2_parts(True)
    )


def klein(distilled: bool = False) -> Any:
    from diffusers import Flux2KleinPipeline

    tokenizer, encoder = chat("Qwen3ForCausalLM", layers=28)
    return Flux2KleinPipeline(text_encoder=encoder, tokenizer=tokenizer, is_distilled=distilled, **_flux2_parts(False))


def qwen_image() -> Any:
    import transformers
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel

    tokenizer, _ = chat("Qwen3ForCausalLM")
    text = {**WIDTH, "num_hidden_layers": 1, "vocab_size": len(tokenizer)}
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
    sight = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=sight)
    network = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    small = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
    )
    return QwenImagePipeline(
        scheduler=flow(use_dynamic_shifting=True), vae=small, transformer=network, tokenizer=tokenizer,
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config),
    )  # fmt: skip


def pixart(sigma: bool = False) -> Any:
    from diffusers import DDIMScheduler, PixArtAlphaPipeline, PixArtSigmaPipeline, PixArtTransformer2DModel

    tokenizer, encoder = t5()
    network = PixArtTransformer2DModel(
        sample_size=32, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=4, caption_channels=32,
        cross_attention_dim=32, in_channels=4, out_channels=8, use_additional_conditions=False,
    )  # fmt: skip
    return (PixArtSigmaPipeline if sigma else PixArtAlphaPipeline)(
        tokenizer=tokenizer, text_encoder=encoder, vae=vae(), transformer=network, scheduler=DDIMScheduler()
    )


def sana() -> Any:
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel

    tokenizer, encoder = chat("Gemma2Model")
    network = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=16,
        num_cross_attention_heads=2, cross_attention_head_dim=16, cross_attention_dim=32, caption_channels=32,
        sample_size=16,
    )  # fmt: skip
    blocks = ("ResBlock",) * 6
    small = AutoencoderDC(
        latent_channels=4, attention_head_dim=2, encoder_block_types=blocks, decoder_block_types=blocks,
        encoder_block_out_channels=(8,) * 6, decoder_block_out_channels=(8,) * 6, encoder_qkv_multiscales=((),) * 6,
        decoder_qkv_multiscales=((),) * 6, encoder_layers_per_block=(1,) * 6, decoder_layers_per_block=[1] * 6,
        downsample_block_type="conv", upsample_block_type="interpolate",
    )  # fmt: skip
    return SanaPipeline(
        tokenizer=tokenizer, text_encoder=encoder, vae=small, transformer=network,
        scheduler=flow(),
    )  # fmt: skip


def aura_flow() -> Any:
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel

    tokenizer, encoder = t5()
    network = AuraFlowTransformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32, out_channels=4,
        pos_embed_max_size=256,
    )  # fmt: skip
    return AuraFlowPipeline(tokenizer=tokenizer, text_encoder=encoder, vae=vae(), transformer=network, scheduler=flow())


def chroma() -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    tokenizer, encoder = t5()
    network = ChromaTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=(4, 4, 8), approximator_hidden_dim=32, approximator_layers=1,
        approximator_num_channels=16,
    )  # fmt: skip
    return ChromaPipeline(
        scheduler=flow(use_dynamic_shifting=True), vae=vae(shift=True), transformer=network, text_encoder=encoder,
        tokenizer=tokenizer,
    )  # fmt: skip


def lumina2() -> Any:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    tokenizer, encoder = chat("Gemma2Model")
    network = Lumina2Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, hidden_size=32, num_layers=1, num_refiner_layers=1,
        num_attention_heads=2, num_kv_heads=2, multiple_of=16, axes_dim_rope=(4, 6, 6), axes_lens=(300, 64, 64),
        cap_feat_dim=32,
    )  # fmt: skip
    return Lumina2Pipeline(
        scheduler=flow(), vae=vae(shift=True), transformer=network, text_encoder=encoder, tokenizer=tokenizer
    )


def z_image() -> Any:
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    tokenizer, encoder = chat("Qwen3Model", layers=2)
    network = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=32,
        axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    return ZImagePipeline(
        scheduler=flow(), vae=vae(shift=True), transformer=network, text_encoder=encoder, tokenizer=tokenizer
    )


def cogview4() -> Any:
    from diffusers import CogView4Pipeline, CogView4Transformer2DModel

    tokenizer, encoder = chat("GlmModel", layers=2)
    network = CogView4Transformer2DModel(
        patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        text_embed_dim=32, time_embed_dim=8, condition_dim=4, rope_axes_dim=(64, 64),
    )  # fmt: skip
    return CogView4Pipeline(
        tokenizer=tokenizer, text_encoder=encoder, vae=vae(), transformer=network,
        scheduler=flow(use_dynamic_shifting=True),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[], Any]] = {
    "sd1": sd,
    "sd2": lambda: sd("v_prediction"),
    "sd-lcm": lambda: sd(time_cond_proj_dim=8),
    "sdxl": sdxl,
    "sd3": sd3,
    "flux-dev": flux,
    "flux-schnell": lambda: flux(told=False),
    "flux2": flux2,
    "flux2-klein": klein,
    "flux2-klein-distilled": lambda: klein(distilled=True),
    "qwen-image": qwen_image,
    "pixart-alpha": pixart,
    "pixart-sigma": lambda: pixart(sigma=True),
    "sana": sana,
    "aura-flow": aura_flow,
    "chroma": chroma,
    "lumina2": lumina2,
    "z-image": z_image,
    "cogview4": cogview4,
}


def save(family: str, folder: Path) -> Path:
    """The family's pipeline as a folder that a job may name."""
    torch.manual_seed(0)
    pipe = FAMILIES[family]()
    for value in pipe.transformer.parameters() if getattr(pipe, "transformer", None) else ():
        if value.ndim > 1 or not torch.isfinite(value).all():  # fresh ones begin near zero, which would show nothing
            torch.nn.init.normal_(value, std=0.2)
    pipe.save_pretrained(folder)
    return folder


def lora(path: Path, unet: torch.nn.Module, name: str, rows: int = 2) -> Path:
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

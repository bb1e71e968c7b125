"""The two pipelines of the starter's diffusion models as folders in diffusers' layout, and their tokenizer.

One network was trained with a depth channel. A zero channel adds nothing to the first convolution, so without that
channel's weights the same network is an exact text-to-image model. What both have in common is stored once.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers import StableDiffusionDepth2ImgPipeline as DepthPipeline
from diffusers import StableDiffusionPipeline as TextPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

TOKENS = 24  # longest prompt
UNET = dict(  # attention only at 8x8, where it is cheap
    sample_size=32,
    out_channels=4,
    down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    block_out_channels=(32, 64, 96, 128),
    layers_per_block=1,
    cross_attention_dim=128,
    attention_head_dim=4,
    norm_num_groups=16,
)
# v-prediction down to pure noise (Lin et al. 2024). A schedule that ends before it leaks the mean brightness of the
# image into the noise, and a model trained so cannot choose the brightness of a flat background.
SCHEDULER = dict(
    prediction_type="v_prediction",
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
    clip_sample=False,
    set_alpha_to_one=True,
)


def make_tokenizer(prompts: list[str], directory: Path) -> CLIPTokenizer:
    """A byte-pair tokenizer whose merges make one token of each word of the prompts, written to `directory` as CLIP's
    files."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        show_progress=False,
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(prompts, trainer)
    model = json.loads(bpe.to_str())["model"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split()) for pair in model["merges"]]
    words = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)])
    tokens = [*words, "<|startoftext|>", "<|endoftext|>"]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": TOKENS,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    return CLIPTokenizer.from_pretrained(directory)


def export_pipelines(
    text_encoder: CLIPTextModel,
    depth_unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    directory: Path,
) -> None:
    """Write directory/text-to-image and directory/depth-to-image, half precision safetensors. The networks given stay
    as they are. Doing it again over an earlier export is safe."""
    scheduler = DDIMScheduler(**SCHEDULER)
    text_encoder, depth_unet, vae = (
        copy.deepcopy(network).to(torch.float16) for network in (text_encoder, depth_unet, vae)
    )
    unet = UNet2DConditionModel(in_channels=4, **UNET).to(torch.float16)
    weights = {k: v.clone() for k, v in depth_unet.state_dict().items()}
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :4].clone()
    unet.load_state_dict(weights)
    shared = dict(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=scheduler)
    text = TextPipeline(**shared, unet=unet, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    depth = DepthPipeline(**shared, unet=depth_unet, depth_estimator=None, feature_extractor=None)
    for name, pipeline in (("text-to-image", text), ("depth-to-image", depth)):
        pipeline.save_pretrained(directory / name)
    for name in ("text-to-image", "depth-to-image"):
        split_weights(directory / name / "unet")
    link_shared_files(directory / "text-to-image", directory / "depth-to-image")


def split_weights(unet: Path) -> None:
    """Store the weights of a UNet's folder in two files: the first convolution, in which alone the two networks
    differ, and all other layers."""
    whole = unet / "diffusion_pytorch_model.safetensors"
    weights = load_file(whole)
    shards = [whole.with_name(f"{whole.stem}-0000{i}-of-00002.safetensors") for i in (1, 2)]
    held = {name: shards[not name.startswith("conv_in.")] for name in weights}
    for shard in shards:
        shard.unlink(missing_ok=True)  # an earlier export may have left a link, which must not be written through
        save_file({name: weights[name] for name in held if held[name] == shard}, shard, {"format": "pt"})
    size = sum(value.numel() * value.element_size() for value in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": {name: shard.name for name, shard in held.items()}}
    (unet / f"{whole.name}.index.json").write_text(json.dumps(index, indent=1) + "\n")
    whole.unlink()


def link_shared_files(owner: Path, other: Path) -> None:
    """Replace the files of `other` that both pipelines have in common by relative links to those of `owner`.

    Files are linked, not folders, because every packer and loader follows links of files.
    """
    for name in ("vae", "text_encoder", "tokenizer", "scheduler"):
        folder = other / name
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for file in sorted((owner / name).iterdir()):
            _link(folder / file.name, file)
    for file in (owner / "unet").glob("*-00002-of-00002.safetensors"):
        _link(other / "unet" / file.name, file)


def _link(link: Path, file: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..", "..", *file.parts[-3:]))

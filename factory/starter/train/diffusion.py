"""Train the starter's two diffusion models at once: text-to-image and depth-to-image.

    python -m factory.starter.train.diffusion --cache DIR --vae DIR --out DIR --export DIR --minutes 60

One UNet learns with a depth channel that is zero for half of the pictures. A zero channel adds nothing to the first
convolution, so cutting its weights off leaves an exact text-to-image model. (Stable Diffusion 2 depth went the other
way.)
Written as EXPORT/text-to-image and EXPORT/depth-to-image, in diffusers' layout.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers import StableDiffusionDepth2ImgPipeline as DepthToImage
from diffusers import StableDiffusionPipeline as TextToImage
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from factory.errors import UserError
from factory.models.device import quiet_diffusers
from factory.starter import cache
from factory.starter.train import common, pictures
from factory.starter.world.scene import FIRST_OBJECT

TOKENS = 24  # longest prompt
TEXT = dict(
    hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=TOKENS
)
UNET = dict(  # attention where it is cheap: at 8x8
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
# v-prediction down to pure noise (Lin et al. 2024): otherwise flat backgrounds cannot choose their brightness.
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
GAMMA, NO_PROMPT, NO_DEPTH = 5.0, 0.1, 0.5
PERSON = 3.0  # how much more an error on a person weighs: they are what the pictures are for, and a sixth of their area


class Painter(nn.Module):
    """The trained parts together: text encoder and UNet with a depth channel."""

    def __init__(self, vocabulary: int, eos: int) -> None:
        super().__init__()
        special = dict(bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=eos)
        self.text = CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, **TEXT, **special))
        self.unet = UNet2DConditionModel(in_channels=5, **UNET)
        self.unet.set_attn_processor(AttnProcessor())  # on a CPU a third faster than the fused kernel

    def forward(self, noisy: Tensor, depth: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """noisy (N, 4, 32, 32), depth (N, 1, 32, 32), time (N,), tokens (N, 24) -> v (N, 4, 32, 32)."""
        words = self.text(tokens).last_hidden_state
        return self.unet(torch.cat([noisy, depth], 1), time, words).sample


def make_tokenizer(prompts: list[str], directory: Path) -> CLIPTokenizer:
    """A byte-pair tokenizer in CLIP's files, whose merges make one token of each word of the prompts."""
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


@torch.no_grad()
def encode(vae: AutoencoderKL, data: cache.Cache, path: Path, rows: np.ndarray | None = None) -> np.ndarray:
    """(N, 2, 4, 32, 32) float16 scaled latents of each image and its mirror image, kept in a file. rows (N,): of these
    alone."""
    if path.exists():
        return np.load(path, mmap_mode="r")
    rows = np.arange(len(data)) if rows is None else rows
    out = np.empty((len(rows), 2, 4, 32, 32), np.float16)
    scale = float(vae.config.scaling_factor)
    for i in range(0, len(rows), 64):
        image = common.to_tensor(data.images[rows[i : i + 64]]).to(vae.device)
        for side, picture in enumerate((image, image.flip(3))):
            out[i : i + 64, side] = (vae.encode(picture).latent_dist.mode() * scale).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, out)
    return out


def require_encoder_of(start: Path, vae: AutoencoderKL) -> None:
    """UserError where the latents are not those that the pack in `start` has learnt."""
    own = AutoencoderKL.from_pretrained(start / "text-to-image" / "vae", torch_dtype=torch.float32).encoder.state_dict()
    given = {name: value.cpu() for name, value in vae.encoder.state_dict().items()}
    if own.keys() != given.keys() or not all(torch.equal(own[name], given[name]) for name in own):
        raise UserError(f"--vae: its latents are not those of {start}; give that pack's, or no --start")


def stretch(depth: np.ndarray) -> np.ndarray:
    """(N, 32, 32) -> each map from -1 to 1, as diffusers' pipeline will stretch it."""
    low, high = depth.min((1, 2), keepdims=True), depth.max((1, 2), keepdims=True)
    return 2 * (depth - low) / np.maximum(high - low, 1e-6) - 1


def person_weight(instances: np.ndarray) -> np.ndarray:
    """(N, 128, 128) -> (N, 32, 32) float32: PERSON where any pixel is a person's, 1 elsewhere."""
    people = ((instances > 0) & (instances < FIRST_OBJECT)).reshape(len(instances), 32, 4, 32, 4).any((2, 4))
    return np.where(people, PERSON, 1).astype(np.float32)


def noised(clean: Tensor, alphas: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """clean (N, 4, 32, 32) latents, alphas (1000,) of the scheduler -> the latents with noise, their times (N,), the v
    to be told from them, and the weight of its error (N, 1, 1, 1)."""
    time = common.put(rng.integers(1000, size=len(clean)), clean.device)
    noise = torch.randn(clean.shape, generator=common.generator(rng, clean.device), device=clean.device)
    alpha = alphas[time][:, None, None, None]
    snr = alpha / (1 - alpha)
    weight = snr.clamp(max=GAMMA) / (snr + 1)  # min-SNR (Hang et al. 2023) for v-prediction
    weight = torch.where(snr < 1e-3, 1 / (1 + GAMMA), weight)  # keep pure noise in the loss
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    return noisy, time, alpha.sqrt() * noise - (1 - alpha).sqrt() * clean, weight


class Scenes:
    """Batches of a cache's scenes as latents with noise; all they are made of lies on the device.

    latents (N, 2, 4, 32, 32) from `encode`; depth and instances of the same N scenes; words (N + 1, ...): what is said
    of each, and last what is said where the prompt is left out.
    """

    def __init__(self, latents: np.ndarray, depth: np.ndarray, instances: np.ndarray, words: Tensor) -> None:
        self.latents, self.depth, self.words = common.put(np.array(latents)), common.put(stretch(depth)), words
        parts = np.array_split(np.arange(len(instances)), len(instances) // 1024 + 1)
        weight = np.concatenate([person_weight(instances[part]) for part in parts])
        self.weight = common.put(weight / weight.mean())  # the learning rate keeps its meaning
        self.alphas = DDIMScheduler(**SCHEDULER).alphas_cumprod.to(common.device())

    def draw(self, rng: np.random.Generator, batch: int) -> dict[str, Tensor]:
        """noisy (B, 4, 32, 32), time (B,), depth (B, 1, 32, 32), words (B, ...); target (B, 4, 32, 32): the v to be
        told from them; weight (B, 1, 32, 32) of its error."""
        count = len(self.latents)
        rows, side = common.put(rng.integers(count, size=batch)), common.put(rng.integers(2, size=batch))
        said = torch.where(common.put(rng.random(batch) < NO_PROMPT), count, rows)
        given = common.put(rng.random(batch) >= NO_DEPTH).float()
        depth, people = (
            torch.where(side[:, None, None] == 1, maps[rows].flip(-1), maps[rows])[:, None]
            for maps in (self.depth, self.weight)
        )
        noisy, time, target, weight = noised(self.latents[rows, side].float(), self.alphas, rng)
        depth = depth * given[:, None, None, None]
        return {
            "noisy": noisy, "time": time, "depth": depth, "words": self.words[said],
            "target": target, "weight": weight * people,
        }  # fmt: skip


def export(painter: Painter, vae: AutoencoderKL, tokenizer: CLIPTokenizer, directory: Path) -> None:
    """Write both pipelines, half precision safetensors; what they have in common once, see `share`."""
    scheduler = DDIMScheduler(**SCHEDULER)
    painter, vae = (copy.deepcopy(part).to(torch.float16) for part in (painter, vae))
    unet = UNet2DConditionModel(in_channels=4, **UNET).to(torch.float16)
    weights = {k: v.clone() for k, v in painter.unet.state_dict().items()}
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :4].clone()
    unet.load_state_dict(weights)
    shared = dict(vae=vae, text_encoder=painter.text, tokenizer=tokenizer, scheduler=scheduler)
    text = TextToImage(**shared, unet=unet, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    depth = DepthToImage(**shared, unet=painter.unet, depth_estimator=None, feature_extractor=None)
    for name, pipeline in (("text-to-image", text), ("depth-to-image", depth)):
        pipeline.save_pretrained(directory / name)
    for name in ("text-to-image", "depth-to-image"):
        split(directory / name / "unet")
    share(directory / "text-to-image", directory / "depth-to-image")


def split(unet: Path) -> None:
    """Its weights in two shards: the first convolution, in which alone the two networks differ, and all else."""
    whole = unet / "diffusion_pytorch_model.safetensors"
    weights = load_file(whole)
    shards = [whole.with_name(f"{whole.stem}-0000{i}-of-00002.safetensors") for i in (1, 2)]
    held = {name: shards[not name.startswith("conv_in.")] for name in weights}
    for shard in shards:
        shard.unlink(missing_ok=True)  # may be a link
        save_file({name: weights[name] for name in held if held[name] == shard}, shard, {"format": "pt"})
    size = sum(value.numel() * value.element_size() for value in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": {name: shard.name for name, shard in held.items()}}
    (unet / f"{whole.name}.index.json").write_text(json.dumps(index, indent=1) + "\n")
    whole.unlink()


def share(owner: Path, other: Path) -> None:
    """Replace the files of `other` that both pipelines have in common by relative links to those of `owner`.

    Links of files, not of folders: every packer and loader follows those. Safe to do again.
    """
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        folder = other / part
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for file in sorted((owner / part).iterdir()):
            _link(folder / file.name, file)
    for file in (owner / "unet").glob("*-00002-of-00002.safetensors"):
        _link(other / "unet" / file.name, file)


def _link(link: Path, file: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..", "..", *file.parts[-3:]))


def main(argv: list[str] | None = None) -> None:
    parser = common.parser(__doc__, batch=32, rate=1e-3)
    parser.add_argument("--vae", required=True, help="folder of the trained autoencoder")
    args = parser.parse_args(argv)
    quiet_diffusers()
    common.seed_everything(args.seed, args.threads)
    device, data, out = common.device(), cache.load(args.cache), Path(args.out)
    vae = AutoencoderKL.from_pretrained(args.vae, torch_dtype=torch.float32).to(device).eval()
    vae.register_to_config(_name_or_path="")  # or the export tells where it was trained
    latents = encode(vae, data, out / f"latents-{len(data)}.npy")
    if args.start:
        require_encoder_of(args.start, vae)
        tokenizer = CLIPTokenizer.from_pretrained(args.start / "depth-to-image" / "tokenizer")
    else:
        tokenizer = make_tokenizer(sorted(set(data.prompts)), out / "tokenizer")
    tokens = tokenizer(
        [*data.prompts, ""], padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
    ).input_ids
    painter = Painter(len(tokenizer), tokenizer.eos_token_id).to(device)
    if args.start:
        folder = args.start / "depth-to-image"
        painter.text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).to(device)
        painter.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).to(device)
        painter.unet.register_to_config(_name_or_path="")
        painter.unet.set_attn_processor(AttnProcessor())
        painter.train()
    millions = sum(p.numel() for p in painter.parameters()) / 1e6
    print(f"{millions:.2f} M parameters, {len(tokenizer)} tokens, {len(data)} scenes")
    parameters = list(painter.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=args.rate, weight_decay=0.01, betas=(0.9, 0.98), fused=torch.cuda.is_available()
    )
    ema = common.EMA(painter, 0.999)
    scenes = Scenes(latents, data.depth, data.instances, tokens.to(device))

    def terms(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=common.bfloat(args)):
            drawn = painter(batch["noisy"], batch["depth"], batch["time"], batch["words"])
        return {"loss": (batch["weight"] * (drawn.float() - batch["target"]).square()).mean()}

    descent = common.Descent(terms, optimizer, parameters, 1.0)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        common.set_learning_rate(optimizer, common.learning_rate(args.rate, index, fraction))
        values = descent(scenes.draw(common.rng(args.seed, index), args.batch))
        ema.update(painter)
        return values

    parts = {"model": painter, "optimizer": optimizer, "ema": ema}
    common.fit(
        "diffusion", args, step, parts,
        lambda: export(ema.model, vae, tokenizer, Path(args.export)), lambda: pictures.diffusion(args.export, data),
    )  # fmt: skip


if __name__ == "__main__":
    main()

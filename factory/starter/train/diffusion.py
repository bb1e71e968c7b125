"""Train the starter's two diffusion models at once: text-to-image and depth-to-image.

One UNet learns with a depth channel that is zero for half of the images. Cutting that channel off leaves the
text-to-image model, see `pipelines`. (Stable Diffusion 2 was first trained without depth and then with it.)
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from factory.errors import UserError
from factory.models.device import quiet_diffusers
from factory.starter.train.pipelines import SCHEDULER, TOKENS, UNET, export_pipelines, make_tokenizer
from factory.starter.train.samples import diffusion_samples
from factory.starter.world.cache import Cache
from factory.starter.world.scene import FIRST_OBJECT
from factory.training.average import EMA
from factory.training.diffusion_loss import add_noise
from factory.training.learner import Descent, Learner
from factory.training.loop import fit
from factory.training.options import TrainingOptions
from factory.training.randomness import seed_everything, step_rng
from factory.training.tensors import bfloat16_is_fast, images_to_tensor, to_device, training_device

BATCH, RATE = 32, 1e-3
TEXT = dict(
    hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=TOKENS
)
NO_PROMPT, NO_DEPTH = 0.1, 0.5  # shares of a batch that are trained without a prompt, and without depth
PERSON_WEIGHT = 3.0  # weight of an error on a person: the images are about people, who cover a sixth of the area


class Painter(nn.Module):
    """The networks that are trained together: text encoder and UNet with a depth channel."""

    def __init__(self, vocabulary: int, eos: int) -> None:
        super().__init__()
        special = dict(bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=eos)
        self.text = CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, **TEXT, **special))
        self.unet = UNet2DConditionModel(in_channels=5, **UNET)
        self.unet.set_attn_processor(AttnProcessor())  # on a CPU a third faster than the fused kernel

    def forward(self, noisy: Tensor, depth: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """noisy (N, 4, 32, 32), depth (N, 1, 32, 32), time (N,), tokens (N, TOKENS) -> v (N, 4, 32, 32)."""
        words = self.text(tokens).last_hidden_state
        return self.unet(torch.cat([noisy, depth], 1), time, words).sample


@torch.no_grad()
def encode_latents(vae: AutoencoderKL, cache: Cache, path: Path) -> np.ndarray:
    """(N, 2, 4, 32, 32) float16 scaled latents of each image and of its mirror image, kept in the file `path`."""
    if path.exists():
        return np.load(path, mmap_mode="r")
    latents = np.empty((len(cache), 2, 4, 32, 32), np.float16)
    scale = float(vae.config.scaling_factor)
    for i in range(0, len(cache), 64):
        image = images_to_tensor(cache.images[i : i + 64]).to(vae.device)
        for side, mirrored in enumerate((image, image.flip(3))):
            latents[i : i + 64, side] = (vae.encode(mirrored).latent_dist.mode() * scale).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, latents)
    os.replace(temporary, path)  # a kill leaves no half-written file, which the next run would take for whole
    return latents


def require_encoder_of(start: Path, vae: AutoencoderKL) -> None:
    """UserError where the encoder of `vae` is not that of the pack `start`, whose UNet knows other latents then."""
    own = AutoencoderKL.from_pretrained(start / "text-to-image" / "vae", torch_dtype=torch.float32).encoder.state_dict()
    given = {name: value.cpu() for name, value in vae.encoder.state_dict().items()}
    if own.keys() != given.keys() or not all(torch.equal(own[name], given[name]) for name in own):
        raise UserError(
            f"--start {start}: its latents are not those of the autoencoder trained under --out; give another --out, "
            "or no --start"
        )


def stretch(depth: np.ndarray) -> np.ndarray:
    """depth (N, 32, 32) -> each map scaled to the range -1 ... 1, as diffusers' pipeline will scale it."""
    low, high = depth.min((1, 2), keepdims=True), depth.max((1, 2), keepdims=True)
    return 2 * (depth - low) / np.maximum(high - low, 1e-6) - 1


def person_weight(instances: np.ndarray) -> np.ndarray:
    """instances (N, 128, 128) -> (N, 32, 32) float32: PERSON_WEIGHT where any pixel is of a person, 1 elsewhere."""
    people = ((instances > 0) & (instances < FIRST_OBJECT)).reshape(len(instances), 32, 4, 32, 4).any((2, 4))
    return np.where(people, PERSON_WEIGHT, 1).astype(np.float32)


class LatentBatches:
    """Batches of scenes as latents with noise. All that they are made of lies on the device."""

    def __init__(self, latents: np.ndarray, depth: np.ndarray, instances: np.ndarray, words: Tensor) -> None:
        """latents (N, 2, 4, 32, 32) as `encode_latents` returns them; depth and instances of the same N scenes.

        words (N + 1, ...): tokens or embeddings of each scene's prompt, and last those of an empty prompt.
        """
        self.latents, self.depth, self.words = to_device(np.array(latents)), to_device(stretch(depth)), words
        parts = np.array_split(np.arange(len(instances)), len(instances) // 1024 + 1)
        weight = np.concatenate([person_weight(instances[part]) for part in parts])
        self.weight = to_device(weight / weight.mean())  # 1 on average, so that the learning rate keeps its meaning
        self.alphas = DDIMScheduler(**SCHEDULER).alphas_cumprod.to(training_device())

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Tensor]:
        """`noisy` (B, 4, 32, 32), `time` (B,), `depth` (B, 1, 32, 32) and `words` (B, ...) for the network; `target`
        (B, 4, 32, 32), the v it shall predict, and `weight` (B, 1, 32, 32) of its squared error."""
        scenes = len(self.latents)
        rows, side = to_device(rng.integers(scenes, size=count)), to_device(rng.integers(2, size=count))
        words = torch.where(to_device(rng.random(count) < NO_PROMPT), scenes, rows)
        with_depth = to_device(rng.random(count) >= NO_DEPTH).float()
        depth, weight_of_people = (
            torch.where(side[:, None, None] == 1, maps[rows].flip(-1), maps[rows])[:, None]
            for maps in (self.depth, self.weight)
        )
        noisy = add_noise(self.latents[rows, side].float(), self.alphas, rng)
        depth = depth * with_depth[:, None, None, None]
        return {
            "noisy": noisy.latents, "time": noisy.time, "depth": depth, "words": self.words[words],
            "target": noisy.target, "weight": noisy.weight * weight_of_people,
        }  # fmt: skip


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """The trained autoencoder, float32, on the training's device."""
    vae = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).to(training_device()).eval()
    vae.register_to_config(_name_or_path="")  # diffusers stores there the folder that it loaded from
    return vae


def trained_painter(pack: Path, tokenizer: CLIPTokenizer) -> Painter:
    """The networks of a pack's depth-to-image model, float32, ready to learn on."""
    folder, device = pack / "depth-to-image", training_device()
    painter = Painter(len(tokenizer), tokenizer.eos_token_id).to(device)
    painter.text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).to(device)
    painter.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).to(device)
    painter.unet.register_to_config(_name_or_path="")
    painter.unet.set_attn_processor(AttnProcessor())
    return painter.train()


def train_diffusion(options: TrainingOptions, cache: Cache, autoencoder: Path, start: Path | None = None) -> None:
    """Train on the scenes of the cache. autoencoder: its folder. start: a pack to start from; UserError where its
    latents are others."""
    quiet_diffusers()
    seed_everything(options.seed, options.threads)
    batch_size, rate = options.batch or BATCH, options.rate or RATE
    device, bfloat = training_device(), bfloat16_is_fast() and not options.full_precision
    vae = load_autoencoder(autoencoder)
    latents = encode_latents(vae, cache, options.out / f"latents-{len(cache)}.npy")
    if start:
        require_encoder_of(start, vae)
        tokenizer = CLIPTokenizer.from_pretrained(start / "depth-to-image" / "tokenizer")
        painter = trained_painter(start, tokenizer)
    else:
        tokenizer = make_tokenizer(sorted(set(cache.prompts)), options.out / "tokenizer")
        painter = Painter(len(tokenizer), tokenizer.eos_token_id).to(device)
    tokens = tokenizer(
        [*cache.prompts, ""], padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
    ).input_ids
    millions = sum(p.numel() for p in painter.parameters()) / 1e6
    print(f"{millions:.2f} M parameters, {len(tokenizer)} tokens, {len(cache)} scenes")
    parameters = list(painter.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=rate, weight_decay=0.01, betas=(0.9, 0.98), fused=torch.cuda.is_available()
    )
    average = EMA(painter, 0.999)
    batches = LatentBatches(latents, cache.depth, cache.instances, tokens.to(device))

    def terms(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat):
            drawn = painter(batch["noisy"], batch["depth"], batch["time"], batch["words"])
        return {"loss": (batch["weight"] * (drawn.float() - batch["target"]).square()).mean()}

    learner = Learner(painter, Descent(terms, optimizer, parameters, 1.0), rate, average=average)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        return learner.step(index, fraction, batches.draw(step_rng(options.seed, index), batch_size))

    def export() -> None:
        export_pipelines(average.model.text, average.model.unet, vae, tokenizer, options.export)

    fit("diffusion", options, step, learner.parts, export, lambda: diffusion_samples(options.export, cache))

"""Train the starter's adapter: a LoRA for one domain, the six actions of the paper's SMART (guidance D).

The UNet with a depth channel learns, as in `diffusion`, but only low-rank changes of some of its layers. The first
convolution is none of these layers, so that the one file fits both models of the pack, text-to-image and
depth-to-image. It is saved as diffusers' own training scripts save a LoRA.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from factory.models.device import quiet_diffusers
from factory.prompts import read_prompts
from factory.starter.train.diffusion import LatentBatches, encode_latents
from factory.starter.train.pipelines import TOKENS
from factory.starter.train.samples import adapter_samples
from factory.starter.world.actions import ACTIONS
from factory.starter.world.cache import Cache
from factory.training.learner import Descent, Learner
from factory.training.loop import fit
from factory.training.options import TrainingOptions
from factory.training.randomness import seed_everything, step_rng
from factory.training.tensors import bfloat16_is_fast, training_device

BATCH, RATE, WARMUP = 32, 4e-3, 20
DOMAIN = read_prompts("smart")["action"]
RANK = 4
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2"]  # attention, and the residual blocks' convolutions
FILE = "pytorch_lora_weights.safetensors"


class LoRA:
    """The adapter's weights within a UNet. Its state holds these alone, whatever the UNet's own weights are."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.unet = unet
        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=LAYERS))

    def parameters(self) -> list[Tensor]:
        """The weights that learn."""
        return [p for p in self.unet.parameters() if p.requires_grad]

    def state_dict(self) -> dict[str, Tensor]:
        """The adapter's weights, named as diffusers names them."""
        return get_peft_model_state_dict(self.unet)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Set the weights that `state_dict` returned."""
        set_peft_model_state_dict(self.unet, state)


def domain_rows(cache: Cache) -> np.ndarray:
    """The rows of the scenes that show an action of the domain."""
    names = list(ACTIONS)
    return np.flatnonzero(np.isin(cache.action, [names.index(action) for action in DOMAIN]))


def load_depth_model(pack: Path) -> tuple[AutoencoderKL, CLIPTokenizer, CLIPTextModel, UNet2DConditionModel]:
    """The parts of a pack's depth-to-image model, float32. Only the UNet can learn."""
    folder, wide = pack / "depth-to-image", {"torch_dtype": torch.float32}
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", **wide)
    unet.set_attn_processor(AttnProcessor())  # see `diffusion.Painter`
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).requires_grad_(False)
    vae = AutoencoderKL.from_pretrained(folder / "vae", **wide).eval()
    return vae, CLIPTokenizer.from_pretrained(folder / "tokenizer"), text.eval(), unet


def embed(prompts: list[str], tokenizer: CLIPTokenizer, text: CLIPTextModel) -> Tensor:
    """(N, TOKENS, 128): the text encoder's last hidden states, which condition the UNet."""
    tokens = tokenizer(prompts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")
    with torch.no_grad():
        return text(tokens.input_ids.to(text.device)).last_hidden_state


def train_adapter(options: TrainingOptions, cache: Cache, pack: Path, start: Path | None = None) -> None:
    """Train on those scenes of the cache that belong to the domain. pack: the folder of the diffusion models to adapt.
    start: an earlier export to start from."""
    quiet_diffusers()
    seed_everything(options.seed, options.threads)
    batch_size, rate = options.batch or BATCH, options.rate or RATE
    device, bfloat = training_device(), bfloat16_is_fast() and not options.full_precision
    rows = domain_rows(cache)
    vae, tokenizer, text, unet = load_depth_model(pack)
    latents = encode_latents(vae.to(device), cache, options.out / f"latents-{len(rows)}.npy", rows)
    prompts = sorted({cache.prompts[i] for i in rows})
    words = embed([*prompts, ""], tokenizer, text.to(device))
    prompt_of_row = np.array([prompts.index(cache.prompts[i]) for i in rows])
    lora = LoRA(unet.to(device).train())
    if start:
        trained = load_file(start / FILE)
        lora.load_state_dict({name.removeprefix("unet."): value.float() for name, value in trained.items()})
    count = sum(p.numel() for p in lora.parameters())
    print(f"{count / 1e3:.0f} k parameters, {len(rows)} scenes")
    optimizer = torch.optim.AdamW(lora.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    batches = LatentBatches(latents, cache.depth[rows], cache.instances[rows], words[[*prompt_of_row, len(prompts)]])

    def terms(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat):
            drawn = unet(torch.cat([batch["noisy"], batch["depth"]], 1), batch["time"], batch["words"]).sample
        return {"loss": (batch["weight"] * (drawn.float() - batch["target"]).square()).mean()}

    learner = Learner(lora, Descent(terms, optimizer, lora.parameters(), 1.0), rate, WARMUP)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        return learner.step(index, fraction, batches.draw(step_rng(options.seed, index), batch_size))

    def export() -> None:
        layers = {name: value.detach().half().contiguous() for name, value in lora.state_dict().items()}
        StableDiffusionPipeline.save_lora_weights(options.export, unet_lora_layers=layers)

    fit("adapter", options, step, learner.parts, export, lambda: adapter_samples(options.export, pack, cache, rows))

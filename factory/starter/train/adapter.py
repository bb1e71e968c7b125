"""Train the starter's adapter: a LoRA that draws one domain better, the six actions of the paper's SMART (guidance D).

    python -m factory.starter.train.adapter --cache DIR --base PACK --out DIR --export DIR --minutes 10

The UNet with a depth channel learns, as in `diffusion`, and only low-rank changes of some of its layers. The first
convolution is none of them, so that the one file fits both models of the pack: text-to-image and depth-to-image. Saved
as diffusers' own training scripts save a LoRA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from factory.models.device import quiet_diffusers
from factory.prompts import read
from factory.starter import cache
from factory.starter.train import common, pictures
from factory.starter.train.diffusion import TOKENS, Scenes, encode
from factory.starter.world.actions import ACTIONS

DOMAIN = read("smart")["action"]
RANK = 4
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2"]  # attention, and the residual blocks' convolutions
FILE = "pytorch_lora_weights.safetensors"


class LoRA:
    """The adapter's own weights within a UNet: what its checkpoint holds, whatever the base."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.unet = unet
        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=LAYERS))

    def parameters(self) -> list[Tensor]:
        return [p for p in self.unet.parameters() if p.requires_grad]

    def state_dict(self) -> dict[str, Tensor]:
        return get_peft_model_state_dict(self.unet)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        set_peft_model_state_dict(self.unet, state)


def rows_of(data: cache.Cache) -> np.ndarray:
    """The scenes of the domain."""
    names = list(ACTIONS)
    return np.flatnonzero(np.isin(data.action, [names.index(action) for action in DOMAIN]))


def load(base: Path) -> tuple[AutoencoderKL, CLIPTokenizer, CLIPTextModel, UNet2DConditionModel]:
    """The parts of a pack's depth-to-image model, float32."""
    folder, wide = base / "depth-to-image", {"torch_dtype": torch.float32}
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", **wide)
    unet.set_attn_processor(AttnProcessor())  # see `diffusion.Painter`
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).requires_grad_(False)
    vae = AutoencoderKL.from_pretrained(folder / "vae", **wide).eval()
    return vae, CLIPTokenizer.from_pretrained(folder / "tokenizer"), text.eval(), unet


def embed(prompts: list[str], tokenizer: CLIPTokenizer, text: CLIPTextModel) -> Tensor:
    """(N, 24, 128): what the UNet is told of each prompt."""
    tokens = tokenizer(prompts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")
    with torch.no_grad():
        return text(tokens.input_ids.to(text.device)).last_hidden_state


def main(argv: list[str] | None = None) -> None:
    parser = common.parser(__doc__, batch=32, rate=4e-3)
    parser.add_argument("--base", type=Path, required=True, help="pack of the diffusion models")
    args = parser.parse_args(argv)
    quiet_diffusers()
    common.seed_everything(args.seed, args.threads)
    device, data = common.device(), cache.load(args.cache)
    rows = rows_of(data)
    vae, tokenizer, text, unet = load(args.base)
    latents = encode(vae.to(device), data, Path(args.out) / f"latents-{len(rows)}.npy", rows)
    prompts = sorted({data.prompts[i] for i in rows})
    words = embed([*prompts, ""], tokenizer, text.to(device))
    said = np.array([prompts.index(data.prompts[i]) for i in rows])
    lora = LoRA(unet.to(device).train())
    if args.start:
        from safetensors.torch import load_file

        start = load_file(args.start / FILE)
        lora.load_state_dict({name.removeprefix("unet."): value.float() for name, value in start.items()})
    count = sum(p.numel() for p in lora.parameters())
    print(f"{count / 1e3:.0f} k parameters, {len(rows)} scenes")
    optimizer = torch.optim.AdamW(lora.parameters(), lr=args.rate, weight_decay=0.01, betas=(0.9, 0.98))
    scenes = Scenes(latents, data.depth[rows], data.instances[rows], words[[*said, len(prompts)]])

    def terms(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=common.bfloat(args)):
            drawn = unet(torch.cat([batch["noisy"], batch["depth"]], 1), batch["time"], batch["words"]).sample
        return {"loss": (batch["weight"] * (drawn.float() - batch["target"]).square()).mean()}

    descent = common.Descent(terms, optimizer, lora.parameters(), 1.0)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        common.set_learning_rate(optimizer, common.learning_rate(args.rate, index, fraction, warmup=20))
        return descent(scenes.draw(common.rng(args.seed, index), args.batch))

    def export() -> None:
        layers = {name: value.detach().half().contiguous() for name, value in lora.state_dict().items()}
        StableDiffusionPipeline.save_lora_weights(args.export, unet_lora_layers=layers)

    parts: dict[str, Any] = {"model": lora, "optimizer": optimizer}
    common.fit("adapter", args, step, parts, export, lambda: pictures.adapter(args.export, args.base, data, rows))


if __name__ == "__main__":
    main()

"""Train the starter's image autoencoder (diffusers' AutoencoderKL): 128 px images to 32x32 latents of 4 channels.

    python -m factory.starter.train.vae --cache DIR --out DIR --export DIR --minutes 20

Few channels at full resolution keep it cheap on a CPU. GroupNorm has two groups: one per channel would erase flat
colour.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from factory.models.device import quiet_diffusers
from factory.starter import cache
from factory.starter.train import common, pictures

CONFIG = dict(
    down_block_types=("DownEncoderBlock2D",) * 3,
    up_block_types=("UpDecoderBlock2D",) * 3,
    block_out_channels=(8, 24, 64),
    layers_per_block=1,
    latent_channels=4,
    norm_num_groups=2,
    mid_block_add_attention=False,
    sample_size=128,
)
KL_WEIGHT = 5e-7
CROP, CROPPED = 64, 0.7  # for the first share of the training, four quarter crops stand in for one image: more variety


def reconstruction_loss(drawn: Tensor, image: Tensor) -> Tensor:
    """L1 + L2 + L1 of the image gradients, which keeps outlines sharp."""
    loss = l1_loss(drawn, image) + mse_loss(drawn, image)
    for dim in (2, 3):
        loss = loss + l1_loss(drawn.diff(dim=dim), image.diff(dim=dim))
    return loss


@torch.no_grad()
def evaluate(vae: AutoencoderKL, images: np.ndarray) -> float:
    """Mean absolute error of the reconstruction, images in [-1, 1]."""
    batches = [common.to_tensor(images[i : i + 32]) for i in range(0, len(images), 32)]
    errors = [(vae(b.to(vae.device)).sample.cpu() - b).abs().mean() for b in batches]
    return float(torch.stack(errors).mean())


def main(argv: list[str] | None = None) -> None:
    args = common.parser(__doc__, batch=16, rate=2e-3).parse_args(argv)
    quiet_diffusers()
    common.seed_everything(args.seed, args.threads)
    device, data = common.device(), cache.load(args.cache)
    vae = AutoencoderKL(**CONFIG)
    if args.start:  # the decoder alone goes on learning: latents stay the same
        vae = AutoencoderKL.from_pretrained(args.start, torch_dtype=torch.float32).train()
        vae.register_to_config(_name_or_path="")  # or the export tells where it was trained
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    vae.to(device).to(memory_format=torch.channels_last)
    learning = [p for p in vae.parameters() if p.requires_grad]
    fused = torch.cuda.is_available()
    optimizer = torch.optim.AdamW(learning, lr=args.rate, weight_decay=0.01, betas=(0.9, 0.98), fused=fused)
    ema, pictures_of = common.EMA(vae, 0.998), common.Pictures(data.images)

    def terms(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image = batch["image"]
        with torch.autocast(device.type, torch.bfloat16, enabled=common.bfloat(args)):
            posterior = vae.encode(image).latent_dist
            drawn = vae.decode(posterior.sample()).sample
        return {"picture": reconstruction_loss(drawn.float(), image), "kl": KL_WEIGHT * posterior.kl().mean()}

    descents = [common.Descent(terms, optimizer, learning, 1.0) for _ in range(2)]  # one for each size of pictures

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        rng = common.rng(args.seed, index)
        cropped = fraction < CROPPED
        image = 2 * pictures_of(rng.integers(len(data), size=args.batch * (4 if cropped else 1))) - 1
        if cropped:
            x, y = rng.integers(image.shape[3] - CROP + 1, size=2)
            image = image[:, :, y : y + CROP, x : x + CROP]
        if rng.random() < 0.5:
            image = image.flip(3)
        common.set_learning_rate(optimizer, common.learning_rate(args.rate, index, fraction))
        values = descents[cropped]({"image": image.contiguous(memory_format=torch.channels_last)})
        ema.update(vae)
        return values

    def export() -> None:
        if not args.start:
            with torch.no_grad():
                latents = ema.model.encode(common.to_tensor(data.images[:256]).to(device)).latent_dist.mode()
            ema.model.register_to_config(scaling_factor=float(1 / latents.std()))
        copy.deepcopy(ema.model).to(torch.float16).save_pretrained(Path(args.export))

    parts = {"model": vae, "optimizer": optimizer, "ema": ema}
    common.fit("vae", args, step, parts, export, lambda: pictures.vae(args.export, data))
    print(f"L1 of the averaged weights {evaluate(ema.model, data.images[-256:]):.4f}")


if __name__ == "__main__":
    main()

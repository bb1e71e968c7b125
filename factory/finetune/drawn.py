"""What a fine-tuned model draws beside what it drew before: the picture of a training's checkpoint."""

from __future__ import annotations

import numpy as np
import torch

from factory.finetune.domain import DomainImage
from factory.finetune.latent_model import LatentModel
from factory.finetune.lora import LoRA
from factory.geometry.depth import inverse_depth
from factory.models.diffusion.base import image_tensor
from factory.present.pictures import contact_sheet

STEPS, GUIDANCE, STRENGTH = 20, 5.0, 0.9
SIDE = 128  # px, of each image in the picture


@torch.inference_mode()
def comparison(model: LatentModel, lora: LoRA, examples: list[DomainImage], texts: list[str], size: int) -> np.ndarray:
    """(H, W, 3) uint8: for each example, an image of the domain; what the model draws for its caption without the
    adapter; and what it draws with it from the same noise."""
    rows, unet = [], model.unet.eval()
    try:
        for seed, (example, text) in enumerate(zip(examples, texts, strict=True)):
            drawn = [example.image]
            for on in (False, True):
                lora.enable(on)
                drawn.append(_draw(model, example, text, size, seed))
            rows.append(tuple(drawn))
    finally:
        lora.enable(True)
        unet.train()
    return contact_sheet(rows, side=SIDE)


def _draw(model: LatentModel, example: DomainImage, text: str, size: int, seed: int) -> np.ndarray:
    arguments = dict(
        **model.prompts.arguments([text], ""), num_inference_steps=STEPS, guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(seed), output_type="np",
    )  # fmt: skip
    if model.takes_depth:
        assert example.depth is not None
        control = inverse_depth(example.depth, size // model.factor, size // model.factor)
        image = image_tensor(example.image[None])
        arguments |= {"image": image, "depth_map": torch.from_numpy(control)[None], "strength": STRENGTH}
    else:
        arguments |= {"height": size, "width": size}
    image = model.pipe(**arguments).images[0]
    return (np.nan_to_num(image) * 255).round().clip(0, 255).astype(np.uint8)

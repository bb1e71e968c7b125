"""Images that the untouched model draws from generic prompts (prior preservation, Ruiz et al. 2023): learnt beside the
domain's, they keep the model from forgetting what else it could draw."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from factory.finetune.captions import Captions
from factory.finetune.domain import DomainImage
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from factory.prompts import read_prompts

STEPS, GUIDANCE = 50, 7.5
AT_ONCE = 4


def generic_prompts(prompts: str, count: int, seed: int) -> list[str]:
    """`count` prompts of the set, drawn by the seed. UserError as `Captions`."""
    captions, rng = Captions(prompts), np.random.default_rng(seed)
    actions = list(read_prompts(prompts).get("action") or [""])
    choices = (captions.of(str(rng.choice(actions))) for _ in range(count))
    return [texts[int(rng.integers(len(texts)))] for texts in choices]


def draw_preserved(
    folder: Path, model: TextToImage | DepthToImage, prompts: list[str], size: int, seed: int,
    depths: list[np.ndarray] | None = None,
) -> Iterator[DomainImage]:  # fmt: skip
    """One image for each prompt; those that an earlier call left in `folder` are read. depths: maps (S, S) m for a
    depth-to-image model, which draws under one after the other of them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i:05d}.png" for i in range(len(prompts))]
    for start in range(0, len(prompts), AT_ONCE):
        rows = [i for i in range(start, min(start + AT_ONCE, len(prompts))) if not files[i].exists()]
        if rows:
            texts, seeds = [prompts[i] for i in rows], [_seed(seed, i) for i in rows]
            if isinstance(model, TextToImage):
                drawn = model.generate(texts, seeds, size, STEPS, GUIDANCE)
            else:
                assert depths is not None
                maps, grey = np.stack([depths[i % len(depths)] for i in rows]), np.full((len(rows), size, size, 3), 127)
                drawn = model.refine(grey.astype(np.uint8), maps, texts, seeds, STEPS, 1.0, GUIDANCE)
            for i, image in zip(rows, drawn, strict=True):
                temporary = files[i].with_suffix(".tmp")
                Image.fromarray(image).save(temporary, "PNG")
                os.replace(temporary, files[i])
        for i in range(start, min(start + AT_ONCE, len(prompts))):
            with Image.open(files[i]) as stored:
                image = np.asarray(stored.convert("RGB"))
            depth = depths[i % len(depths)] if depths is not None else None
            yield DomainImage(files[i].name, image, float(size), caption=prompts[i], depth=depth)


def _seed(seed: int, index: int) -> int:
    digest = hashlib.blake2b(f"{seed}:preserved:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & (2**63 - 1)

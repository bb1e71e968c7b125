"""Train the instance segmenter (transformers' Mask2Former: person, object) on the rendered world.

    python -m factory.starter.train.detector --cache DIR --out DIR --minutes 30

From scratch the queries wait until the pixel features mean something; a training-only head that labels each pixel
person, object or background gets those features going in the first minutes.
"""

from __future__ import annotations

import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from factory.geometry.crops import MEAN, STD
from factory.models.detectors.mask2former import Mask2Former
from factory.models.device import quiet
from factory.starter.cache import Cache, load
from factory.starter.train import common, pictures
from factory.starter.world.scene import FIRST_OBJECT

LABELS = {0: "person", 1: "object"}
MIN_PIXELS = 12  # smaller instances are no target
WIDTHS, DEPTHS, HIDDEN, QUERIES = (32, 48, 96, 160), (1, 1, 2, 1), 64, 12
INPUT = 256  # px that images are enlarged to: masks come out at a quarter of it, and limbs are lost in less
TARGET = INPUT // 2  # px, side of the target masks: twice the predicted ones


def build() -> nn.Module:
    """A Mask2FormerForUniversalSegmentation of about 1 M parameters."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=WIDTHS[0],
        hidden_sizes=list(WIDTHS),
        depths=list(DEPTHS),
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=HIDDEN,
        mask_feature_size=HIDDEN,
        hidden_dim=HIDDEN,
        encoder_feedforward_dim=2 * HIDDEN,
        dim_feedforward=2 * HIDDEN,
        encoder_layers=1,
        decoder_layers=3,
        num_attention_heads=4,
        num_queries=QUERIES,
        train_num_points=512,
        id2label=LABELS,
        label2id={label: number for number, label in LABELS.items()},
    )
    return Mask2FormerForUniversalSegmentation(config)


def draw(cache: Cache, rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor]:
    """Images (N, 3, S, S) in [0, 1] and instance maps (N, S, S) uint8: flipped, turned, zoomed, shifted, degraded."""
    pick = np.sort(rng.integers(len(cache.images), size=batch))
    images = common.put(cache.images[pick]).permute(0, 3, 1, 2) / 255
    maps = common.put(cache.instances[pick])[:, None].float()
    angle = common.put(np.deg2rad(rng.normal(0, 8, batch)))
    zoom = common.put(np.exp(rng.normal(0, 0.15, batch)).clip(0.6, 1.4))
    mirror = common.put(np.where(rng.random(batch) < 0.5, -1.0, 1.0))
    shift = common.put(rng.normal(0, 0.08, (batch, 2)))
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    turn = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], -1).view(-1, 2, 3)
    images = common.sample(images, turn, INPUT, padding="border")
    maps = common.sample(maps, turn, INPUT, mode="nearest", padding="border")
    return common.degrade(images, rng), maps[:, 0].byte()


def targets(maps: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Instance maps (N, S, S) -> per image masks (n, TARGET, TARGET) float and classes (n,), n >= 1."""
    masks, classes = [], []
    small = (TARGET, TARGET)
    for image in maps:
        values = [v for v in image.unique().tolist() if v and (image == v).sum() >= MIN_PIXELS]
        some = torch.stack([image == v for v in values]) if values else torch.zeros(1, *image.shape)
        masks.append(F.adaptive_avg_pool2d(some.float(), small))
        classes.append(torch.tensor([int(v >= FIRST_OBJECT) for v in values] or [len(LABELS)]))
    return masks, classes


def losses(model: nn.Module, head: nn.Module, images: Tensor, maps: Tensor, bfloat: bool) -> dict[str, Tensor]:
    x = (images - images.new_tensor(MEAN).view(3, 1, 1)) / images.new_tensor(STD).view(3, 1, 1)
    x = x.contiguous(memory_format=torch.channels_last)
    masks, classes = targets(maps.cpu())
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat):
        out: Any = model(
            pixel_values=x, mask_labels=[m.to(x.device) for m in masks], class_labels=[c.to(x.device) for c in classes]
        )
        pixels = F.interpolate(head(out.pixel_decoder_last_hidden_state), size=TARGET, mode="bilinear")
    truth = torch.where(maps == 0, 0, torch.where(maps >= FIRST_OBJECT, 2, 1))[:, ::2, ::2].long().to(x.device)
    return {"queries": out.loss.mean(), "pixels": 3 * F.cross_entropy(pixels.float(), truth)}


def export(model: Any, directory: str | Path) -> None:
    """config.json, model.safetensors (half precision) and preprocessor_config.json, as transformers loads them."""
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    copy.deepcopy(model).half().save_pretrained(directory)
    Mask2FormerImageProcessorPil(
        size={"height": INPUT, "width": INPUT}, image_mean=MEAN, image_std=STD, ignore_index=255, num_labels=len(LABELS)
    ).save_pretrained(directory)


def train(a: Namespace) -> None:
    quiet()
    common.seed_everything(a.seed, a.threads)
    cache = load(a.cache)
    model, head = build(), nn.Conv2d(HIDDEN, 3, 1).to(common.device())
    if a.start:
        model.load_state_dict(Mask2Former(str(a.start)).network.state_dict())
    model.to(common.device())
    model.to(memory_format=torch.channels_last).train()
    average = common.EMA(model)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=a.rate, weight_decay=0.02)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        common.set_learning_rate(optimizer, common.learning_rate(a.rate, index, fraction))
        terms = losses(model, head, *draw(cache, common.rng(a.seed, index), a.batch), bfloat=common.bfloat(a))
        values = common.descend(terms, optimizer, parameters, 5.0)
        average.update(model)
        return values

    parts = {"model": model, "head": head, "optimizer": optimizer, "average": average}
    common.fit(
        "detector", a, step, parts,
        lambda: export(average.model, a.export), lambda: pictures.detector(a.export, cache),
    )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    train(common.parser(__doc__, batch=16, rate=8e-4).parse_args(argv))


if __name__ == "__main__":
    main()

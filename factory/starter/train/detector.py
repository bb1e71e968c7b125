"""Train the instance segmenter (transformers' Mask2Former: person, object) on the rendered world.

With random weights the queries learn nothing until the pixel features are informative. A head that only the training
has, and that labels each pixel person, object or background, makes them so within the first minutes.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from factory.geometry.crops import MEAN, STD
from factory.models.detectors.mask2former import Mask2Former
from factory.models.device import quiet
from factory.starter.train.samples import detector_samples
from factory.starter.world.cache import Cache
from factory.starter.world.scene import FIRST_OBJECT
from factory.training.augment import degrade, warp
from factory.training.average import EMA
from factory.training.learner import Descent, Learner
from factory.training.loop import fit
from factory.training.options import TrainingOptions
from factory.training.randomness import seed_everything, step_rng
from factory.training.tensors import bfloat16_is_fast, to_device, training_device

BATCH, RATE = 16, 8e-4
LABELS = {0: "person", 1: "object"}
SMALLEST_TARGET = 12  # px; smaller instances are left out
WIDTHS, DEPTHS, HIDDEN, QUERIES = (32, 48, 96, 160), (1, 1, 2, 1), 64, 12
INPUT = 256  # px that images are enlarged to: masks come out at a quarter of it, and in fewer pixels limbs are lost
TARGET = INPUT // 2  # px, side of the target masks: twice that of the predicted ones


def build_detector() -> nn.Module:
    """A Mask2FormerForUniversalSegmentation of about 1 M parameters, with random weights."""
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


def draw_scenes(cache: Cache, rng: np.random.Generator, count: int) -> dict[str, Tensor]:
    """`images` (N, 3, S, S) in [0, 1] and `instances` (N, S, S) uint8, S = INPUT: mirrored, turned, zoomed, shifted,
    and the images degraded."""
    rows = np.sort(rng.integers(len(cache.images), size=count))
    images = to_device(cache.images[rows]).permute(0, 3, 1, 2) / 255
    instances = to_device(cache.instances[rows])[:, None].float()
    angle = to_device(np.deg2rad(rng.normal(0, 8, count)))
    zoom = to_device(np.exp(rng.normal(0, 0.15, count)).clip(0.6, 1.4))
    mirror = to_device(np.where(rng.random(count) < 0.5, -1.0, 1.0))
    shift = to_device(rng.normal(0, 0.08, (count, 2)))
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    turn = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], -1).view(-1, 2, 3)
    images = warp(images, turn, INPUT, padding="border")
    instances = warp(instances, turn, INPUT, mode="nearest", padding="border")
    return {"images": degrade(images, rng), "instances": instances[:, 0].byte()}


def query_targets(instances: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Instance maps (N, S, S) -> for each image masks (n, TARGET, TARGET) float and classes (n,), n >= 1.

    An image without instances gets one empty mask of the class "no object".
    """
    masks, classes = [], []
    for image in instances:
        ids = [i for i in image.unique().tolist() if i and (image == i).sum() >= SMALLEST_TARGET]
        full_size = torch.stack([image == i for i in ids]) if ids else torch.zeros(1, *image.shape)
        masks.append(F.adaptive_avg_pool2d(full_size.float(), (TARGET, TARGET)))
        classes.append(torch.tensor([int(i >= FIRST_OBJECT) for i in ids] or [len(LABELS)]))
    return masks, classes


def detector_losses(model: nn.Module, head: nn.Module, batch: dict[str, Tensor], bfloat: bool) -> dict[str, Tensor]:
    """Mask2Former's own loss, and the cross-entropy of the training-only head. batch: as `draw_scenes` returns it."""
    images, instances = batch["images"], batch["instances"]
    x = (images - images.new_tensor(MEAN).view(3, 1, 1)) / images.new_tensor(STD).view(3, 1, 1)
    x = x.contiguous(memory_format=torch.channels_last)
    masks, classes = query_targets(instances.cpu())
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat):
        out: Any = model(
            pixel_values=x, mask_labels=[m.to(x.device) for m in masks], class_labels=[c.to(x.device) for c in classes]
        )
        pixels = F.interpolate(head(out.pixel_decoder_last_hidden_state), size=TARGET, mode="bilinear")
    kinds = torch.where(instances == 0, 0, torch.where(instances >= FIRST_OBJECT, 2, 1))
    truth = kinds[:, ::2, ::2].long().to(x.device)
    return {"queries": out.loss.mean(), "pixels": 3 * F.cross_entropy(pixels.float(), truth)}


def export_detector(model: Any, folder: Path) -> None:
    """Write config.json, model.safetensors (half precision) and preprocessor_config.json, as transformers reads."""
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    copy.deepcopy(model).half().save_pretrained(folder)
    Mask2FormerImageProcessorPil(
        size={"height": INPUT, "width": INPUT}, image_mean=MEAN, image_std=STD, ignore_index=255, num_labels=len(LABELS)
    ).save_pretrained(folder)


def train_detector(options: TrainingOptions, cache: Cache, start: Path | None = None) -> None:
    """Train on the scenes of the cache. start: an earlier export to start from."""
    quiet()
    seed_everything(options.seed, options.threads)
    batch_size, rate = options.batch or BATCH, options.rate or RATE
    bfloat = bfloat16_is_fast() and not options.full_precision
    model, head = build_detector(), nn.Conv2d(HIDDEN, 3, 1).to(training_device())
    if start:
        model.load_state_dict(Mask2Former(str(start)).network.state_dict())
    model.to(training_device())
    model.to(memory_format=torch.channels_last).train()
    average, parameters = EMA(model), [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.02)
    # Not recorded: the number of masks differs from batch to batch.
    descent = Descent(lambda b: detector_losses(model, head, b, bfloat), optimizer, parameters, 5.0, record=False)
    learner = Learner(model, descent, rate, average=average)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        return learner.step(index, fraction, draw_scenes(cache, step_rng(options.seed, index), batch_size))

    fit(
        "detector", options, step, {**learner.parts, "head": head},
        lambda: export_detector(average.model, options.export), lambda: detector_samples(options.export, cache),
    )  # fmt: skip

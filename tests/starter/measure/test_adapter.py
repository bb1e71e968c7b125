"""The starter pack's adapter, which changes what both models draw; and what is measured of an adapter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from factory.finetune.latent_model import LatentModel
from factory.finetune.lora import LoRA
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from factory.starter.measure.adapter import MODEL, adapter_figures, distances
from factory.weights.locate import WEIGHTS
from tests.support.images import apart

pytestmark = pytest.mark.skipif(not (WEIGHTS / "adapter").exists(), reason="the starter pack lacks it")
PROMPT, SEED = ["a photo of an athlete doing diving"], [3]


def test_an_adapter_that_changes_nothing_is_worth_nothing(tmp_path):
    """A LoRA as a training begins with: it adds zero. The loss and the distances stay as they are."""
    lora = LoRA(LatentModel(MODEL).unet, 2, "attention")
    (tmp_path / "zero").mkdir()
    lora.save(tmp_path / "zero")
    rows = adapter_figures(str(tmp_path / "zero"), tmp_path / "domain", 8, train=1, steps=2)
    assert [round(row.value, 2) for row in rows] == [100.0, 100.0, 100.0]
    loss, *apart_from_it = rows
    assert loss.goal == 85 and not loss.reached and loss.n == 8
    assert all(row.goal == 100 for row in apart_from_it)


def test_images_nearer_to_the_domain_have_smaller_distances():
    random = torch.Generator().manual_seed(0)
    real, far = (torch.randn(40, 4, generator=random, dtype=torch.float64) + shift for shift in (0, 3))
    near = torch.randn(40, 4, generator=random, dtype=torch.float64) + 1
    assert all(row.value < 50 and row.reached for row in distances(real, far, near))
    assert not any(row.reached for row in distances(real, near, far))


def test_one_file_changes_what_both_models_draw():
    drawn = [
        TextToImage("starter:text-to-image", adapter=name, adapter_scale=scale).generate(PROMPT, SEED, 128, 4, 3.0)
        for name, scale in ((None, 1.0), ("starter:adapter", 0.0), ("starter:adapter", 1.0))
    ]
    assert apart(drawn[0], drawn[1]) <= 1 and apart(drawn[0], drawn[2]) > 20
    depth = np.zeros((1, 128, 128), np.float32)
    depth[:, 30:110, 50:80] = np.linspace(20, 21, 30)
    redrawn = [
        DepthToImage("starter:depth-to-image", adapter=name).refine(drawn[0], depth, PROMPT, SEED, 4, 0.9, 3.0)
        for name in (None, "starter:adapter")
    ]
    assert apart(*redrawn) > 20


def test_it_is_small():
    assert sum(path.stat().st_size for path in (WEIGHTS / "adapter").iterdir()) < 400_000

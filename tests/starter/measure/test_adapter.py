"""The starter pack's adapter: it changes what both models draw, and makes its domain easier to draw."""

from __future__ import annotations

import numpy as np
import pytest

from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from factory.starter.measure.adapter import adapter_figures
from factory.starter.world import cache as world_cache
from factory.weights.locate import WEIGHTS
from tests.support.images import apart

pytestmark = pytest.mark.skipif(not (WEIGHTS / "adapter").exists(), reason="the starter pack lacks it")
PROMPT, SEED = ["a photo of an athlete doing diving"], [3]


def test_its_domain_is_easier_with_it_than_without(tmp_path):
    """On scenes that no training saw; the same noise for both."""
    world_cache.build(tmp_path, world_cache.HELD_OUT, 32)
    domain, rest = adapter_figures(world_cache.load_cache(tmp_path), 32)
    assert domain.n + rest.n == 32 and domain.n > 4
    assert domain.reached and domain.value < min(100, rest.value)


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

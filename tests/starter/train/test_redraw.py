"""Scenes as diffusion redraws them: the same truth under other pictures, whatever was killed meanwhile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from factory.starter.train.options import StarterOptions
from factory.starter.train.redraw import redraw
from factory.starter.train.run import train_models
from factory.starter.world import cache
from factory.weights.locate import WEIGHTS

COUNT = 3


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    cache.build(folder, first_seed=0, count=6)
    return folder


@pytest.fixture(scope="module")
def redrawn(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("redrawn")
    redraw(scenes, WEIGHTS, folder, COUNT, batch=2)
    return folder


def test_the_truth_is_the_scenes_own(scenes, redrawn):
    before, after = cache.load_cache(scenes), cache.load_cache(redrawn)
    assert len(after) == COUNT
    places = [before.prompts.index(prompt) for prompt in after.prompts]
    for name in set(cache.ROWS) - {"images"}:
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name)[places], err_msg=name)
    apart = np.abs(after.images.astype(int) - before.images[places]).mean((1, 2, 3))
    assert (apart > 2).all() and (apart < 70).all()  # grey levels: drawn anew, and of the same scene


def test_a_killed_redrawing_goes_on_to_the_same_pictures(scenes, redrawn, tmp_path, monkeypatch):
    add = cache.CacheWriter.add

    def die_at_the_second(self, prompt, **row):
        if self.done == 1:
            raise KeyboardInterrupt
        add(self, prompt, **row)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cache.CacheWriter, "add", die_at_the_second)
        redraw(scenes, WEIGHTS, tmp_path, COUNT, batch=2)
    assert len(cache.load_cache(tmp_path)) == 1
    redraw(scenes, WEIGHTS, tmp_path, COUNT, batch=2)
    np.testing.assert_array_equal(cache.load_cache(tmp_path).images, cache.load_cache(redrawn).images)


def test_the_estimator_is_trained_on_some_of_the_diffusion_models_at_hand(scenes, tmp_path, capfd):
    options = StarterOptions(
        models=["hmr"],
        cache=scenes,
        out=tmp_path / "runs",
        export=tmp_path / "pack",
        redrawn=0.5,
        steps=1,
        batch=2,
        threads=1,
    )  # fmt: skip
    train_models(options)
    [some] = (tmp_path / "runs").glob("redrawn-*")
    assert len(cache.load_cache(some)) == 3
    assert "in 9 images" in capfd.readouterr().out
    assert (tmp_path / "pack" / "hmr" / "model.safetensors").exists()
    train_models(options)
    assert [*(tmp_path / "runs").glob("redrawn-*")] == [some]
    train_models(replace(options, models=["diffusion"]))  # another one: its pictures take the place
    train_models(replace(options, steps=2))
    assert len([*(tmp_path / "runs").glob("redrawn-*")]) == 2

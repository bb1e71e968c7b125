"""The training scripts on a handful of rendered scenes: they run, resume to the same weights, and save what loads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from factory.starter import cache as world_cache
from factory.starter.train import common, detector, hmr, vposer

SCENES = 10


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("cache")
    world_cache.build(directory, first_seed=0, count=SCENES)
    return directory


@pytest.fixture(autouse=True)
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Killed(Exception):
    pass


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return state["average"]["model"]


@pytest.mark.parametrize("script", [hmr, detector, vposer], ids=lambda script: script.__name__.rsplit(".")[-1])
def test_a_killed_training_resumes_to_the_same_weights(script, cache, tmp_path, monkeypatch):
    def train(out: Path) -> None:
        options = ["--out", out, "--export", out / "model", "--steps", 4, "--batch", 4, "--threads", 1, "--every", 2]
        options += ["--poses", 50] if script is vposer else ["--cache", cache, "--full-precision"]
        script.main([str(option) for option in options])

    train(tmp_path / "whole")
    tick = common.Progress.tick

    def die_after_three(self, step, fraction, values):
        tick(self, step, fraction, values)
        if step == 2:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(common.Progress, "tick", die_after_three)
        train(tmp_path / "killed")
    assert torch.load(tmp_path / "killed/checkpoint.pt", weights_only=True)["step"] == 2
    train(tmp_path / "killed")
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0, msg=name)
    load_export(script, tmp_path / "killed/model", whole)


def load_export(script, folder: Path, trained: dict[str, torch.Tensor]) -> None:
    """The folder loads in the product's own adapter and holds the trained weights, at half precision."""
    if script is hmr:
        from factory.models.hmr import load_spin

        loaded = load_spin(str(folder))
    elif script is detector:
        from factory.models.detector import Mask2Former

        model = Mask2Former(str(folder), threshold=0.0)
        found = model.detect([np.zeros((128, 128, 3), np.uint8)])
        assert all(i.label in ("person", "object") and i.mask.shape == (128, 128) for i in found[0])
        loaded = model.network
    else:
        from human_body_prior.tools.model_loader import load_vposer

        from factory.models.prior import VPoserPrior

        loaded = VPoserPrior(str(folder)).network
        published = load_vposer(str(folder))[0]  # imports the folder's own vposer_smpl.py
        assert published.state_dict().keys() == loaded.state_dict().keys()
    state = loaded.state_dict()
    for name, value in trained.items():
        torch.testing.assert_close(state[name].float(), value.half().float(), rtol=0, atol=0, msg=name)


def test_checkpoint_survives_a_kill_while_it_is_written(tmp_path, monkeypatch):
    model = torch.nn.Linear(2, 2)
    checkpoint = common.Checkpoint(tmp_path)
    checkpoint.save(3, model=model)
    before = model.weight.detach().clone()

    def killed(*_):
        raise Killed

    monkeypatch.setattr(os, "replace", killed)
    with torch.no_grad():
        model.weight.zero_()
    with pytest.raises(Killed):
        checkpoint.save(4, model=model)
    assert checkpoint.load(model=model)[0] == 3
    assert torch.equal(model.weight, before)


def test_skeleton_agrees_with_the_body_model(cache):
    from factory.models.body import BodyModel
    from factory.models.rotations import axis_angle_to_matrix
    from factory.starter.pack import resolve

    scenes = world_cache.load(cache)
    pose, betas = torch.tensor(scenes.pose[:, 0]), torch.tensor(scenes.betas[:, 0])
    body = BodyModel(resolve("starter:body"))
    _, joints = body(pose[:, :3], pose[:, 3:], betas, torch.zeros(SCENES, 3))
    cheap = hmr.Skeleton(resolve("starter:body")).joints(axis_angle_to_matrix(pose.view(-1, 24, 3)), betas)
    torch.testing.assert_close(cheap, joints[:, :24], atol=1e-5, rtol=0)


def test_augmented_labels_stay_on_the_augmented_person(cache):
    """Turned, mirrored and zoomed together: the labels' 3D joints still project to their 2D joints."""
    from factory.starter.pack import resolve

    skeleton = hmr.Skeleton(resolve("starter:body"))
    scenes = world_cache.load(cache)
    batch = hmr.draw(scenes, hmr.people(scenes, skeleton), common.rng(0, 0), 32, 96)
    joints = skeleton.joints(batch["rotations"], batch["betas"])[..., :2]
    x, y = joints - joints.mean(1, keepdim=True), batch["joints2d"] - batch["joints2d"].mean(1, keepdim=True)
    scale = (x * y).sum((1, 2), keepdim=True) / x.square().sum((1, 2), keepdim=True)
    error = (scale * x - y).norm(dim=-1).mean(1) / y.norm(dim=-1).mean(1)
    # A perspective view differs from this scaled shadow by some percent; a wrong sign or side by more than half.
    assert error.median() < 0.15
    assert error.max() < 0.4


def test_degrade_keeps_range_and_is_repeatable():
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first, second = (common.degrade(images.clone(), common.rng(1, 2)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.min() >= 0 and first.max() <= 1
    assert not torch.equal(first, common.degrade(images.clone(), common.rng(1, 3)))

"""The training scripts on a handful of rendered scenes: they run, resume to the same weights, and save what loads."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from factory.errors import UserError
from factory.models.diffusion.base import DepthToImage, TextToImage
from factory.starter import cache as world_cache
from factory.starter import people
from factory.starter.pack import WEIGHTS
from factory.starter.train import adapter, common, detector, diffusion, hmr, vae, vposer

SCENES = 10
SCRIPTS = [hmr, detector, vposer, vae, diffusion, adapter]


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


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> Path:
    """An untrained one, saved as the training saves it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vae")
    AutoencoderKL(**vae.CONFIG).to(torch.float16).save_pretrained(folder)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    averaged = next((state[name] for name in ("average", "ema") if name in state), state)
    return averaged["model"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__.rsplit(".")[-1])
def test_a_killed_training_resumes_to_the_same_weights(script, cache, autoencoder, tmp_path, monkeypatch):
    """So it is deterministic by seed too: the two runs share nothing but that."""

    def train(out: Path) -> None:
        options = ["--out", out, "--export", out / "model", "--steps", 4, "--batch", 4, "--threads", 1, "--every", 2]
        options += ["--poses", 50] if script is vposer else ["--cache", cache, "--full-precision"]
        options += ["--vae", autoencoder] if script is diffusion else []
        options += ["--base", WEIGHTS] if script is adapter else []
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
    with Image.open(tmp_path / "killed/samples.png") as samples:
        assert samples.format == "PNG" and min(samples.size) > 128 and np.ptp(np.asarray(samples)) > 100


def load_export(script, folder: Path, trained: dict[str, torch.Tensor]) -> None:
    """The folder loads in the product's own adapter and holds the trained weights, at half precision."""
    if script is hmr:
        from factory.models.hmr.spin import load_hmr_network

        loaded = load_hmr_network(str(folder))
    elif script is detector:
        from factory.models.detectors.mask2former import Mask2Former

        model = Mask2Former(str(folder), threshold=0.0)
        found = model.detect([np.zeros((128, 128, 3), np.uint8)])
        assert all(i.label in ("person", "object") and i.mask.shape == (128, 128) for i in found[0])
        loaded = model.network
    elif script is vae:
        loaded = AutoencoderKL.from_pretrained(folder)
    elif script is diffusion:
        pipe = DepthToImage(str(folder / "depth-to-image")).pipe
        loaded = torch.nn.ModuleDict({"text": pipe.text_encoder, "unet": pipe.unet})
    elif script is adapter:
        state = {name.removeprefix("unet."): value for name, value in load_file(folder / adapter.FILE).items()}
        assert TextToImage(str(WEIGHTS / "text-to-image"), adapter=str(folder)).pipe.get_active_adapters() == ["job"]
        loaded = Namespace(state_dict=lambda: state)
    else:
        from human_body_prior.tools.model_loader import load_vposer

        from factory.models.priors.vposer import VPoserPrior

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
    from factory.geometry.body import BodyModel
    from factory.geometry.rotations import axis_angle_to_matrix
    from factory.starter.pack import resolve

    scenes = world_cache.load(cache)
    pose, betas = torch.tensor(scenes.pose[:, 0]), torch.tensor(scenes.betas[:, 0])
    body = BodyModel(resolve("starter:body"))
    _, joints = body(pose[:, :3], pose[:, 3:], betas, torch.zeros(SCENES, 3))
    cheap = people.Skeleton(resolve("starter:body")).joints(axis_angle_to_matrix(pose.view(-1, 24, 3)), betas)
    torch.testing.assert_close(cheap, joints[:, :24], atol=1e-5, rtol=0)


def test_augmented_labels_stay_on_the_augmented_person(cache):
    """Turned, mirrored and zoomed together: the labels' 3D joints still project to their 2D joints."""
    from factory.starter.pack import resolve

    skeleton = people.Skeleton(resolve("starter:body"))
    scenes = world_cache.load(cache)
    batch = hmr.Crops(scenes.images, people.people(scenes, skeleton), 96).draw(common.rng(0, 0), 32)
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


def test_the_two_pipelines_share_their_files_and_load(autoencoder, tmp_path):
    """By relative links, so that the pack may be moved; exporting again over them changes nothing."""
    tokenizer = diffusion.make_tokenizer(["a photo of a person doing yoga"], tmp_path / "tokenizer")
    painter = diffusion.Painter(len(tokenizer), tokenizer.eos_token_id)
    network = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32)
    for _ in range(2):
        diffusion.export(painter, network, tokenizer, tmp_path / "pack")
    assert painter.unet.dtype == network.dtype == torch.float32  # what learns is not rounded
    pack = (tmp_path / "pack").rename(tmp_path / "moved")
    links = [path for path in pack.rglob("*") if path.is_symlink()]
    assert {path.parent.name for path in links} == {"vae", "text_encoder", "tokenizer", "scheduler", "unet"}
    size = sum(path.stat().st_size for path in pack.rglob("unet/*") if not path.is_symlink())
    one = sum(2 * value.numel() for value in painter.unet.parameters())
    assert size < 1.2 * one
    assert all(path.is_file() and not path.readlink().is_absolute() for path in links)
    assert not any(path.is_symlink() for path in (pack / "text-to-image").rglob("*"))
    image = TextToImage(str(pack / "text-to-image")).generate(["yoga"], [0], 64, 1, 2.0)
    depth = np.zeros((1, 64, 64), np.float32)
    depth[0, 20:40, 20:40] = 3.0
    assert DepthToImage(str(pack / "depth-to-image")).refine(image, depth, ["yoga"], [0], 2, 0.9).shape == image.shape


def test_going_on_with_other_latents_is_refused(autoencoder, tmp_path):
    network = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32)
    (tmp_path / "text-to-image").mkdir()
    network.save_pretrained(tmp_path / "text-to-image" / "vae")
    diffusion.require_encoder_of(tmp_path, network)
    with torch.no_grad():
        next(network.encoder.parameters()).add_(1)
    with pytest.raises(UserError, match="latents"):
        diffusion.require_encoder_of(tmp_path, network)


def test_going_on_from_another_network_is_refused(cache, tmp_path):
    other = hmr.PartHMR(**{**hmr.CONFIG, "width": 8})
    hmr.export(other, tmp_path / "other")
    options = ["--cache", cache, "--start", tmp_path / "other", "--out", tmp_path, "--export", tmp_path, "--steps", 1]
    with pytest.raises(UserError, match="'width': 8"):
        hmr.main([str(option) for option in options])


def test_looking_does_not_change_what_is_learnt(tmp_path):
    """A picture may draw random numbers, or fail."""
    layer = torch.nn.Linear(1, 1)
    options = Namespace(out=tmp_path, steps=3, minutes=0, every=1)
    drawn = []

    def step(index, fraction):
        drawn.append(torch.rand(1).item())
        return {}

    def picture():
        torch.rand(7)
        raise ValueError("no picture")

    torch.manual_seed(0)
    common.fit("x", options, step, {"layer": layer}, lambda: None, picture)
    torch.manual_seed(0)
    assert drawn == [torch.rand(1).item() for _ in range(3)]


def test_a_training_without_a_budget_is_refused(tmp_path):
    options = Namespace(out=tmp_path, steps=0, minutes=0, every=1)
    with pytest.raises(UserError, match="budget"):
        common.fit("x", options, lambda *_: {}, {}, lambda: None, lambda: np.zeros((1, 1, 3), np.uint8))


def test_progress_in_a_pipe_is_plain_lines(capsys):
    clock = common.Progress("hmr", steps=100, console=Console(file=sys.stdout, width=200))
    clock.interval = 0
    with clock:
        clock.tick(49, 0.5, {"loss": 2.0})
    line = capsys.readouterr().out
    assert line.startswith("hmr  step 50  50%  ") and "steps/s  ETA" in line and line.endswith("loss 2\n")


def test_errors_on_people_weigh_more(cache):
    """Everywhere else alike, and on average 1, so that the learning rate keeps its meaning."""
    scenes = world_cache.load(cache)
    people_here = ((scenes.instances > 0) & (scenes.instances < 10)).reshape(SCENES, 32, 4, 32, 4).any((2, 4))
    latents, words = np.zeros((SCENES, 2, 4, 32, 32), np.float16), torch.zeros(SCENES + 1, 1)
    weight = diffusion.Scenes(latents, scenes.depth, scenes.instances, words).weight.numpy()
    np.testing.assert_allclose(weight.mean(), 1, rtol=1e-5)
    assert len(np.unique(weight)) == 2
    np.testing.assert_allclose(weight[people_here], diffusion.PERSON * weight[~people_here].max(), rtol=1e-5)

"""Each training on a handful of rendered scenes: it resumes to the same weights, and exports what loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from factory.errors import UserError
from factory.geometry.body import BodyModel
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from factory.models.hmr.part_hmr import PartHMR
from factory.starter.train import detector, diffusion, hmr, pipelines, vae, vposer
from factory.starter.world import cache as world_cache
from factory.starter.world.cache import Cache
from factory.starter.world.people import visible_people
from factory.training.options import TrainingOptions
from factory.training.progress import TrainingProgress
from factory.training.randomness import step_rng

SCENES = 10
Training = Callable[[TrainingOptions, Cache, Path], None]  # options, scenes, an autoencoder
TRAININGS: dict[str, Training] = {
    "hmr": lambda options, cache, _: hmr.train_hmr(options, cache),
    "detector": lambda options, cache, _: detector.train_detector(options, cache),
    "vposer": lambda options, *_: vposer.train_vposer(options, pool_size=50),
    "vae": lambda options, cache, _: vae.train_vae(options, cache),
    "diffusion": lambda options, cache, autoencoder: diffusion.train_diffusion(options, cache, autoencoder),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Cache:
    directory = tmp_path_factory.mktemp("cache")
    world_cache.build(directory, first_seed=0, count=SCENES)
    return world_cache.load_cache(directory)


@pytest.fixture(autouse=True)
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def quick_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of samples in two steps: they take most of the time otherwise."""
    generate, refine = TextToImage.generate, DepthToImage.refine
    text = lambda self, prompts, seeds, size, steps, *more: generate(self, prompts, seeds, size, 2, *more)  # noqa: E731
    image = lambda self, *four_and, **more: refine(self, *four_and[:4], 2, *four_and[5:], **more)  # noqa: E731
    monkeypatch.setattr(TextToImage, "generate", text)
    monkeypatch.setattr(DepthToImage, "refine", image)


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
    return state.get("average", state)["model"]


@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_training_resumes_to_the_same_weights(name, cache, autoencoder, tmp_path, monkeypatch):
    """So it is deterministic by seed too: the two runs share nothing but that."""

    def train(out: Path) -> None:
        options = TrainingOptions(
            out=out, export=out / "model", steps=3, batch=2, threads=1, every=2, full_precision=True
        )
        TRAININGS[name](options, cache, autoencoder)

    train(tmp_path / "whole")
    tick = TrainingProgress.tick

    def die_after_three(self, step, fraction, values):
        tick(self, step, fraction, values)
        if step == 2:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(TrainingProgress, "tick", die_after_three)
        train(tmp_path / "killed")
    assert torch.load(tmp_path / "killed/checkpoint.pt", weights_only=True)["step"] == 2
    train(tmp_path / "killed")
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, msg=key)
    load_export(name, tmp_path / "killed/model", whole)
    with Image.open(tmp_path / "killed/samples.png") as samples:
        assert samples.format == "PNG" and min(samples.size) > 128 and np.ptp(np.asarray(samples)) > 100


def load_export(name: str, folder: Path, trained: dict[str, torch.Tensor]) -> None:
    """The folder loads in the product's own adapter and holds the trained weights, at half precision."""
    if name == "hmr":
        from factory.models.hmr.spin import load_hmr_network

        loaded = load_hmr_network(str(folder))
    elif name == "detector":
        from factory.models.detectors.mask2former import Mask2Former

        model = Mask2Former(str(folder), threshold=0.0)
        found = model.detect([np.zeros((128, 128, 3), np.uint8)])
        assert all(i.label in ("person", "object") and i.mask.shape == (128, 128) for i in found[0])
        loaded = model.network
    elif name == "vae":
        loaded = AutoencoderKL.from_pretrained(folder)
    elif name == "diffusion":
        pipe = DepthToImage(str(folder / "depth-to-image")).pipe
        loaded = torch.nn.ModuleDict({"text": pipe.text_encoder, "unet": pipe.unet})
    else:
        from human_body_prior.tools.model_loader import load_vposer

        from factory.models.priors.choice import load_prior

        loaded = load_prior("vposer-v1", str(folder)).network
        published = load_vposer(str(folder))[0]  # imports the folder's own vposer_smpl.py
        assert published.state_dict().keys() == loaded.state_dict().keys()
    state = loaded.state_dict()
    for key, value in trained.items():
        torch.testing.assert_close(state[key].float(), value.half().float(), rtol=0, atol=0, msg=key)


def test_augmented_labels_stay_on_the_augmented_person(cache):
    """Turned, mirrored and zoomed together: the labels' 3D joints still project to their 2D joints."""
    body = BodyModel("starter:body")
    crops = hmr.CropBatches(cache.images, visible_people(cache, body), 96)
    batch = crops.draw(step_rng(0, 0), 32)
    joints = body.skeleton(batch["rotations"], batch["betas"])[..., :2]
    x, y = joints - joints.mean(1, keepdim=True), batch["joints2d"] - batch["joints2d"].mean(1, keepdim=True)
    scale = (x * y).sum((1, 2), keepdim=True) / x.square().sum((1, 2), keepdim=True)
    error = (scale * x - y).norm(dim=-1).mean(1) / y.norm(dim=-1).mean(1)
    # A perspective view differs from this scaled shadow by some percent; a wrong sign or side by more than half.
    assert error.median() < 0.15
    assert error.max() < 0.4


def test_the_two_pipelines_share_their_files_and_load(autoencoder, tmp_path):
    """By relative links, so that the pack may be moved; exporting again over them changes nothing."""
    tokenizer = pipelines.make_tokenizer(["a photo of a person doing yoga"], tmp_path / "tokenizer")
    painter = diffusion.Painter(len(tokenizer), tokenizer.eos_token_id)
    network = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32)
    for _ in range(2):
        pipelines.export_pipelines(painter.text, painter.unet, network, tokenizer, tmp_path / "pack")
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
    hmr.export_hmr(PartHMR(**{**hmr.CONFIG, "width": 8}), tmp_path / "other")
    with pytest.raises(UserError, match="'width': 8"):
        hmr.train_hmr(TrainingOptions(out=tmp_path, export=tmp_path, steps=1), cache, start=tmp_path / "other")


def test_errors_on_people_weigh_more(cache):
    """Everywhere else alike, and on average 1, so that the learning rate keeps its meaning."""
    people_here = ((cache.instances > 0) & (cache.instances < 10)).reshape(SCENES, 32, 4, 32, 4).any((2, 4))
    latents, words = np.zeros((SCENES, 2, 4, 32, 32), np.float16), torch.zeros(SCENES + 1, 1)
    weight = diffusion.LatentBatches(latents, cache.depth, cache.instances, words).weight.numpy()
    np.testing.assert_allclose(weight.mean(), 1, rtol=1e-5)
    assert len(np.unique(weight)) == 2
    np.testing.assert_allclose(weight[people_here], diffusion.PERSON_WEIGHT * weight[~people_here].max(), rtol=1e-5)

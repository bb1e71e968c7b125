"""Fine-tuning of tiny diffusion models in their real layouts: it learns, resumes, and its file loads as an adapter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from factory.engine.run import run_job
from factory.errors import UserError
from factory.finetune import drawn, held_out, preserved
from factory.finetune.captions import Captions
from factory.finetune.diffusion import finetune_diffusion
from factory.finetune.diffusion_options import DiffusionOptions
from factory.finetune.domain import open_domain
from factory.finetune.latent_model import LatentModel
from factory.finetune.lora import FILE
from factory.finetune.preserved import generic_prompts
from factory.geometry.depth import inverse_depth
from factory.job import JobSpec
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from factory.stages.generate import Generate
from factory.training.progress import TrainingProgress
from tests.support.command import Run, refused
from tests.support.families import FAMILIES
from tests.support.images import apart
from tests.support.seeded_stages import Depth, Finish, People

pytest.importorskip("peft")
TEXT_MODELS = ("sd1", "sd2", "sdxl")
PROMPT, SEED = ["an athlete doing diving"], [3]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    for name in (*TEXT_MODELS, "flux-dev"):
        torch.manual_seed(0)
        FAMILIES[name]().save_pretrained(folder / name)
    return {name: folder / name for name in (*TEXT_MODELS, "flux-dev")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A list of ten red pictures and their actions, and one of a file that is no picture."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(10):
        red = np.full((80, 70, 3), (200, 30, 20)) + random.integers(-20, 20, (80, 70, 3))
        Image.fromarray(red.astype(np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    lines = [f"{i}.png\t{'diving' if i % 2 else 'high jump'}" for i in range(10)]
    (folder / "list.txt").write_text("\n".join([*lines, "broken.png\tdiving"]))
    return folder


def options(model: object, images: object, out: Path, **more: object) -> DiffusionOptions:
    given = {"steps": 3, "batch": 2, "size": 32, "rank": 2, "rate": 0.1, "threads": 1, "every": 2, **more}
    return DiffusionOptions(model=str(model), images=str(images), out=out, export=out / "adapter", **given)


@pytest.fixture(autouse=True)
def quick_samples(monkeypatch):
    """Two steps for a picture and two draws for a loss: they take most of the time otherwise."""
    monkeypatch.setattr(drawn, "STEPS", 2)
    monkeypatch.setattr(preserved, "STEPS", 2)
    monkeypatch.setattr(held_out, "DRAWS", 2)


class Killed(Exception):
    pass


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_it_trains_a_text_model_whose_file_loads_as_adapter(name, models, pictures, tmp_path):
    figures = finetune_diffusion(options(models[name], pictures / "list.txt", tmp_path, layers="all"))
    assert figures is not None and len(figures.without) == 1 and figures.share != 1
    with Image.open(tmp_path / "samples.png") as samples:
        assert samples.format == "PNG"
    stored = json.loads((tmp_path / "figures.json").read_text())
    assert list(stored["curve"]) == ["0", "2", "3"] and stored["held_out"]["share"] == figures.share
    images = [
        TextToImage(str(models[name]), adapter=adapter).generate(PROMPT, SEED, 32, 2, 3.0)
        for adapter in (None, str(tmp_path / "adapter"))
    ]
    assert apart(*images) > 2


def test_it_resumes_to_the_same_weights(models, pictures, tmp_path):
    wanted = options(models["sd1"], pictures / "list.txt", tmp_path / "whole", steps=3)
    figures = finetune_diffusion(wanted)
    again = replace(wanted, out=tmp_path / "killed", export=tmp_path / "killed" / "adapter")
    tick = TrainingProgress.tick

    def die(self, step, fraction, values):
        tick(self, step, fraction, values)
        if step == 2:
            raise Killed

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(TrainingProgress, "tick", die)
        finetune_diffusion(again)
    resumed = finetune_diffusion(again)
    whole, second = (load_file(tmp_path / name / "adapter" / FILE) for name in ("whole", "killed"))
    assert whole.keys() == second.keys() and all(torch.equal(whole[key], second[key]) for key in whole)
    np.testing.assert_array_equal(figures.tuned, resumed.tuned)
    curves = [json.loads((tmp_path / name / "figures.json").read_text()) for name in ("whole", "killed")]
    assert curves[0] == curves[1]
    with pytest.raises(UserError, match="another training.*rank was 2, not 4"):
        finetune_diffusion(replace(again, rank=4))
    assert finetune_diffusion(again).share == figures.share  # there is nothing left to learn
    assert json.loads((tmp_path / "killed" / "figures.json").read_text()) == curves[0]


def test_the_loss_on_what_was_not_learnt_falls(models, pictures, tmp_path):
    figures = finetune_diffusion(
        options(models["sd2"], pictures, tmp_path, steps=16, layers="all", held_out=0.3, rate=0.02, every=100)
    )
    assert len(figures.without) == 3 and figures.share < 0.97 and figures.interval[1] < 1
    assert "held-out" in str(figures) and f"{100 * (figures.share - 1):+.1f} %" in str(figures)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_the_unet_is_told_what_the_pipeline_tells_it(name, models):
    """Text of both encoders and the sizes, the latter of an image that was not scaled."""
    model, heard = LatentModel(str(models[name])), []

    def listen(_, arguments, words):
        heard.append(words)

    model.unet.register_forward_pre_hook(listen, with_kwargs=True)
    call = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "latent", "height": 32, "width": 32}
    model.pipe(PROMPT[0], **call)
    told = model.conditions(PROMPT, [32.0], 32)
    torch.testing.assert_close(told["words"], heard[0]["encoder_hidden_states"])
    added = heard[0]["added_cond_kwargs"]
    assert ("pooled" in told) == (name == "sdxl") == bool(added)
    if added:
        torch.testing.assert_close(told["pooled"], added["text_embeds"])
        torch.testing.assert_close(told["times"], added["time_ids"])
        assert model.conditions(PROMPT, [80.0], 32)["times"].tolist() == [[80, 80, 0, 0, 32, 32]]
        assert told["words"].shape[-1] == 32  # 16 of each encoder
    heard.clear()
    model.pipe("", **{**call, "guidance_scale": 5.0})  # the second pass of guidance, without a text, comes first
    empty = model.conditions(["", PROMPT[0]], [32.0, 32.0], 32)
    torch.testing.assert_close(empty["words"][:1], heard[0]["encoder_hidden_states"][:1])
    torch.testing.assert_close(empty["words"][1], told["words"][0])
    if added:
        torch.testing.assert_close(empty["pooled"][:1], heard[0]["added_cond_kwargs"]["text_embeds"][:1])


def test_latents_decode_to_the_image_and_depth_is_scaled_as_the_pipeline_scales_it(tiny_depth_to_image):
    model = LatentModel(str(tiny_depth_to_image))
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    latents = model.encode(image)
    scale = model.pipe.vae.config.scaling_factor
    tensor = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(latents, scale * model.pipe.vae.encode(tensor).latent_dist.mean)
    depth = np.zeros((64, 64), np.float32)
    depth[20:41, 10:37] = np.linspace(2, 3, 27)
    size = 64 // model.factor
    given = torch.from_numpy(inverse_depth(depth, size, size))[None]
    wanted = model.pipe.prepare_depth_map(tensor[:1], given, 1, False, torch.float32, torch.device("cpu"))
    torch.testing.assert_close(torch.from_numpy(model.control(depth)).float(), wanted[0].float())


def test_a_depth_model_learns_a_data_set_of_ours(tiny_depth_to_image, job: JobSpec, pictures, tmp_path):
    """Of its initial images, the real ones, each under the depth of the bodies in it."""
    values = job.model_dump(exclude_unset=True)
    values |= {"images": {"path": str(pictures)}, "sample": {"extras": ["initial", "depth"]}, "records": 11}
    made = JobSpec.model_validate(values)
    run_job(made, [Generate, People, Depth, Finish])
    domain = open_domain(made.output, depth=True)
    assert 4 < len(domain.names) <= 10 and len(set(domain.names)) == len(domain.names)
    learnt = list(domain.read(list(range(len(domain.names))), 64))
    assert all(image.image[..., 0].mean() > 150 > 100 > image.image[..., 1].mean() for image in learnt)
    assert all(image.depth is not None and image.depth.shape == (64, 64) for image in learnt)
    finetune_diffusion(options(tiny_depth_to_image, made.output, tmp_path, size=64, preserve=2, layers="blocks"))
    depth = np.zeros((1, 64, 64), np.float32)
    depth[:, 20:40, 20:40] = np.linspace(2, 3, 20)
    images = [
        DepthToImage(str(tiny_depth_to_image), adapter=adapter).refine(
            learnt[0].image[None], depth, PROMPT, SEED, 2, 0.9, 3.0
        )
        for adapter in (None, str(tmp_path / "adapter"))
    ]
    assert apart(*images) > 2
    assert len(list(tmp_path.glob("preserved-*/*.png"))) == 2
    with pytest.raises(UserError, match="no sample fits --where"):
        open_domain(made.output, where="people = 77")
    varied = {**values, "output": str(tmp_path / "varied"), "name": "varied"}
    varied["stages"]["estimate"]["augment"] = {"variants": 1}
    run_job(JobSpec.model_validate(varied), [Generate, People, Depth, Finish])
    with pytest.raises(UserError, match="its poses are varied"):
        open_domain(varied["output"], depth=True)
    assert open_domain(varied["output"]).names


def test_images_of_the_untouched_model_are_learnt_beside_the_domains_and_drawn_once(models, pictures, tmp_path):
    wanted = options(models["sd1"], pictures / "list.txt", tmp_path, steps=1, preserve=2, preserve_weight=0.5)
    finetune_diffusion(wanted)
    [folder] = tmp_path.glob("preserved-*")
    times = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert len(times) == 2
    finetune_diffusion(replace(wanted, steps=2))
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == times
    prompts = generic_prompts("mpii", 50, 0)
    assert len(set(prompts)) > 40 and prompts == generic_prompts("mpii", 50, 0)
    assert all(" doing " in prompt for prompt in prompts)


def test_captions_are_the_eight_templates_with_the_images_own_action():
    captions = Captions("finetune")
    texts = captions.of("pole vault")
    assert len(texts) == 8 and all(text.endswith("doing pole vault") for text in texts)
    assert captions.of("")[0].endswith("doing sports")
    with pytest.raises(UserError, match="no-such"):
        Captions("no-such")


def test_held_out_images_do_not_depend_on_the_order_and_variants_stay_together(pictures, tmp_path):
    domain = open_domain(str(pictures))
    learnt, held = domain.split(0.3, 0)
    assert sorted(learnt + held) == list(range(11)) and len(held) == 3
    assert domain.split(0, 0) == (list(range(11)), [])
    doubled = replace(domain, names=[*domain.names, *domain.names])
    assert {i % 11 for i in doubled.split(0.3, 0)[1]} == set(held)


def test_bad_input_is_refused_in_one_line(models, pictures, tmp_path, tiny_depth_to_image, factory: Run):
    (tmp_path / "empty").mkdir()

    def call(model: object, images: object, *more: object):
        return factory("finetune", "diffusion", model, "--images", images, "--out", tmp_path / "o", "--steps", 1, *more)

    sd, images = models["sd1"], pictures / "list.txt"
    refused(call("starter:nobody", images), "unknown starter part")
    gone = tmp_path / "stable-diffusion-v1-4"
    refused(call(gone, images), "not found", "CompVis/stable-diffusion-v1-4", "CreativeML OpenRAIL-M")
    refused(call(models["flux-dev"], images), "FluxPipeline", "Stable Diffusion 1.x")
    refused(call(sd, tmp_path / "nowhere"), "--images", "no such folder")
    refused(call(sd, tmp_path / "empty"), "no images")
    refused(call(sd, images, "--limit", 2), "2 images; at least 4")
    refused(call(sd, images, "--size", 36), "--size 36", "multiples of 16 px")
    refused(call(sd, images, "--layers", "some"), "there are attention, blocks, all")
    refused(call(sd, images, "--epochs", 0), "--epochs 0")
    refused(call(sd, images, "--where", "score > 3"), "--where", "data set")
    refused(call(sd, images, "--prompts", "no-such"), "no-such")
    refused(call(sd, f"smart:{tmp_path}@val"), "split val", "train and test")
    refused(call(tiny_depth_to_image, images), "depth", "data set")
    assert not (tmp_path / "o").exists()


def test_the_command_ends_with_the_loss_of_what_was_held_out(models, pictures, tmp_path, factory: Run):
    done = factory(
        "finetune", "diffusion", models["sd1"], "--images", pictures / "list.txt", "--out", tmp_path,
        "--export", tmp_path / "lora", "--epochs", 0.2, "--size", 32, "--threads", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "9 images to learn, 1 held out" in done.stdout and "1 steps" in done.stdout
    assert "1 left out: broken image" in done.stdout
    assert lines[-1].startswith("loss on 1 held-out images") and (tmp_path / "lora" / FILE).is_file()

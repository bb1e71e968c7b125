import json
import shutil

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.models.diffusion.text_to_image import TextToImage
from tests.support.images import apart

PROMPTS, SEEDS = ["a man diving", "a woman running", "a child"], [11, 12, 13]


@pytest.fixture(scope="module")
def text_to_image(tiny_text_to_image) -> TextToImage:
    return TextToImage(str(tiny_text_to_image))


@pytest.fixture(scope="module")
def depth_to_image(tiny_depth_to_image) -> DepthToImage:
    return DepthToImage(str(tiny_depth_to_image))


@pytest.fixture
def inputs() -> dict:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    depths = np.zeros((3, 64, 64), np.float32)
    depths[:, 8:48, 16:40] = np.linspace(20, 21, 24)  # five rows and three columns of latent cells
    return {"images": images, "depths": depths, "prompts": PROMPTS, "seeds": SEEDS, "steps": 10}


def test_images_by_size(text_to_image):
    images = text_to_image.generate(PROMPTS, SEEDS, 64, steps=2)
    assert images.shape == (3, 64, 64, 3) and images.dtype == np.uint8 and images.std() > 0
    assert text_to_image.generate(PROMPTS[:1], SEEDS[:1], 96, steps=1).shape == (1, 96, 96, 3)


def test_an_image_depends_on_its_own_seed_not_on_its_batch(text_to_image):
    together = text_to_image.generate(PROMPTS, SEEDS, 64, steps=3)
    alone = text_to_image.generate(PROMPTS[1:2], SEEDS[1:2], 64, steps=3)
    assert apart(together[1], alone[0]) <= 1  # rounding
    assert apart(text_to_image.generate(PROMPTS[1:2], [99], 64, steps=3)[0], alone[0]) > 10
    assert apart(text_to_image.generate(PROMPTS[:1], SEEDS[1:2], 64, steps=3)[0], alone[0]) > 1


def test_same_call_same_bytes(text_to_image, depth_to_image, inputs):
    one, two = (text_to_image.generate(PROMPTS, SEEDS, 64, steps=2) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    one, two = (depth_to_image.refine(**inputs) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_half_precision_weights_are_cast_to_the_jobs_dtype(text_to_image, tiny_text_to_image):
    assert text_to_image.pipe.unet.dtype == text_to_image.pipe.vae.dtype == torch.float32
    assert TextToImage(str(tiny_text_to_image), "bfloat16").pipe.unet.dtype == torch.bfloat16


def test_refined_image_depends_on_its_own_depth(depth_to_image, inputs):
    images = depth_to_image.refine(**inputs)
    assert images.shape == (3, 64, 64, 3) and images.dtype == np.uint8
    inputs["depths"] = inputs["depths"].copy()
    inputs["depths"][1] = np.roll(inputs["depths"][1], 16, 1)
    moved = depth_to_image.refine(**inputs)
    assert apart(moved[1], images[1]) > 1
    assert apart(moved[0], images[0]) == apart(moved[2], images[2]) == 0


def test_strength_says_how_many_steps_are_run(depth_to_image, inputs):
    calls = []
    handle = depth_to_image.pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    depth_to_image.refine(**{**inputs, "steps": 50}, strength=0.7)
    handle.remove()
    assert len(calls) == 35


def test_the_pipeline_gets_our_depth_map(depth_to_image, inputs):
    """Nearest is 1, background is -1 and the map reaches the network as it left us."""
    seen = []
    handle = depth_to_image.pipe.unet.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, -1]))
    depth_to_image.refine(**inputs)
    handle.remove()
    depth = seen[0][-1]
    assert depth.shape == (8, 8) and depth.max() == 1 and depth.min() == -1
    assert (depth[1:6, 2] == 1).all() and (depth[1:6, 2:5].diff(dim=1) < 0).all()  # near = large
    assert 0 < depth[3, 4] < 0.3 and (depth[:, 5:] == -1).all() and (depth[6:] == -1).all()  # the gap behind


def test_an_empty_depth_never_reaches_the_pipeline(depth_to_image, inputs):
    inputs["depths"] = np.zeros_like(inputs["depths"])
    with pytest.raises(ValueError, match="empty depth"):
        depth_to_image.refine(**inputs)


def test_human_region_starts_from_noise_and_the_rest_from_the_image(depth_to_image, inputs):
    starts = []
    pipe = depth_to_image.pipe
    handle = pipe.unet.register_forward_pre_hook(lambda _, args: starts.append(args[0][:3, :-1]))
    regions = np.zeros((3, 64, 64), bool)
    regions[:, :, :24] = True  # three of eight latent columns
    plain = depth_to_image.refine(**inputs)
    region = depth_to_image.refine(**inputs, regions=regions)
    again = depth_to_image.refine(**inputs)
    handle.remove()
    before, after = starts[0], starts[len(starts) // 3]
    assert torch.equal(before[..., 3:], after[..., 3:]) and not torch.isclose(before[..., :3], after[..., :3]).any()
    assert apart(plain, region) > 1
    np.testing.assert_array_equal(plain, again)  # the option leaves no trace in the pipeline


def test_nan_is_an_error_not_an_image(tiny_text_to_image):
    model = TextToImage(str(tiny_text_to_image))
    model.pipe.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        model.generate(PROMPTS, SEEDS, 64, steps=1)


def test_bad_folders_are_refused_in_one_line(tmp_path, tiny_text_to_image):
    with pytest.raises(UserError, match="model not found: /no/such/folder"):
        TextToImage("/no/such/folder")
    with pytest.raises(UserError, match="no model_index.json"):
        TextToImage(str(tmp_path))
    folder = shutil.copytree(tiny_text_to_image, tmp_path / "strange")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "unet": ["antigravity", "UNet"]}))
    with pytest.raises(UserError, match="names classes of antigravity"):
        TextToImage(str(folder))
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="folder unet: holds only diffusion_pytorch_model.bin, a pickle"):
        TextToImage(str(folder))

"""Networks in the layouts that users download, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.evaluate.extractors import load_extractor
from factory.evaluate.inception import Inception
from tests.support.command import needs_weights

CPU = torch.device("cpu")
EXPECTED, SUM = [0.91093928, 0.06313066, 0.01869952, 0.1793444, 0.0], 719.40201
IMAGES = [np.random.default_rng(i).integers(0, 256, (70, 64 + i, 3), np.uint8) for i in range(2)]


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory) -> Path:
    """A file of torch-fidelity's layout: its names, drawn values."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, value in Inception().state_dict().items():
        drawn = torch.rand(value.shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            weights[name] = value
        elif ".bn." in name:
            weights[name] = 0.9 + 0.2 * drawn if name.endswith(("var", "weight")) else 0.2 * drawn - 0.1
        else:
            weights[name] = (drawn - 0.5) * (12 / value[0].numel()) ** 0.5 * 1.4
    path = tmp_path_factory.mktemp("inception") / "weights-inception.pth"
    torch.save(weights, path)
    return path


def test_inception_gives_what_torch_fidelity_gives(inception_file):
    """The expected numbers come from torch-fidelity 0.4.0 on the same file and image."""
    extractor = load_extractor(f"inception={inception_file}", CPU)
    image = np.add.outer(np.arange(299), 2 * np.arange(299)).astype(np.uint8)
    image = np.stack([image, image.T, image[::-1]], -1)
    found = extractor([image])
    assert found.shape == (1, 2048) and found.dtype == torch.float64
    assert found[0, [0, 500, 1000, 1500, 2047]].tolist() == pytest.approx(EXPECTED, rel=1e-4)
    assert float(found.sum()) == pytest.approx(SUM, rel=1e-4)


def test_inception_whose_file_is_another_one(inception_file, tmp_path):
    weights = torch.load(inception_file, weights_only=True)
    for words, content in (
        ("lacks 1 layers of FID's Inception, first Mixed_7c.branch1x1.conv.weight", {
            name: value for name, value in weights.items() if name != "Mixed_7c.branch1x1.conv.weight"
        }),
        ("does not fit FID's Inception", {**weights, "fc.weight": torch.zeros(1000, 2048)}),
        ("does not fit FID's Inception", [1, 2, 3]),
    ):  # fmt: skip
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(UserError, match=words):
            load_extractor(f"inception={tmp_path}/other.pth", CPU)
    (tmp_path / "other.pth").write_bytes(inception_file.read_bytes()[:10_000])
    with pytest.raises(UserError, match="is no file of weights"):
        load_extractor(f"inception={tmp_path}/other.pth", CPU)


@pytest.mark.parametrize("words", ["inception", "inception=no/such.pth", "inception=./no-such.pth"])
def test_missing_inception_names_file_source_and_licence(words: str, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        load_extractor(words, CPU)
    assert "weights-inception-2015-12-05-6726825d.pth" in str(error.value)
    assert "https://github.com/toshas/torch-fidelity" in str(error.value) and "Apache-2.0" in str(error.value)


def test_dinov2_gives_its_class_token(tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path)
    extractor = load_extractor(f"dinov2={tmp_path}", CPU)
    assert (extractor.side, extractor(IMAGES).shape) == (224, (2, 32))


def test_clip_gives_its_image_embedding(tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, projection_dim=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=42, patch_size=14,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    extractor = load_extractor(f"clip={tmp_path}", CPU)
    assert (extractor.side, extractor(IMAGES).shape) == (42, (2, 16))


@pytest.mark.parametrize(("kind", "licence"), [("dinov2", "Apache-2.0"), ("clip", "MIT")])
def test_missing_folders_name_source_and_licence(kind: str, licence: str, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=f"; get .*{kind}.* from the hub .{licence}"):
            load_extractor(f"{kind}={place}", CPU)


@needs_weights
def test_the_starters_extractor_sees_what_an_image_shows():
    extractor = load_extractor("starter", CPU)
    found = extractor([*IMAGES, IMAGES[0]])
    assert found.shape == (3, 1024)
    assert torch.allclose(found[0], found[2]) and not torch.allclose(found[0], found[1])
    assert "not Inception" in extractor.about


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="--features vgg: there are starter, inception, dinov2, clip"):
        load_extractor("vgg", CPU)

"""A prompt that is longer than the text encoder takes: what is told and stored is exactly what was read."""

from inspect import signature
from pathlib import Path

import diffusers
import pytest
import torch

from factory.errors import UserError
from factory.models.diffusion.layout import Layout
from factory.models.diffusion.prompt_length import READS, PromptReader
from factory.models.diffusion.text_to_image import TextToImage
from tests.support.families import save
from tests.support.tiny_models import LONG

READERS = ["sd1", "sdxl", "sd3", "flux-dev", "pixart-alpha", "pixart-sigma", "aura-flow", "chroma"]


@pytest.mark.parametrize("name", READERS)
def test_the_text_that_is_stored_is_the_text_that_is_read(tmp_path: Path, name: str) -> None:
    model = TextToImage(str(save(name, tmp_path)))
    options = {"prompt_2": None, "prompt_3": None, "do_classifier_free_guidance": False, "device": "cpu"}
    options["num_images_per_prompt"] = 1
    parameters = signature(model.pipe.encode_prompt).parameters
    options = {key: value for key, value in options.items() if key in parameters}

    def encode(text: str) -> torch.Tensor:
        with torch.inference_mode():
            return model.pipe.encode_prompt([text], **options)[0]

    read = model.reader.cut(LONG)
    assert LONG.startswith(read) and 0 < len(read) < len(LONG)
    assert torch.equal(encode(read), encode(LONG))
    assert not torch.equal(encode(read[:-1].rstrip()), encode(LONG))
    assert model.reader.cut(read) == read and model.reader.cut("a man") == "a man"


def test_the_limits_are_those_of_the_pipelines() -> None:
    for kind, (_, limit) in READS.items():
        parameter = signature(getattr(diffusers, kind).__call__).parameters.get("max_sequence_length")
        assert (parameter.default if parameter else None) == limit, kind


@pytest.mark.parametrize("name", ["flux2", "qwen-image", "sana", "lumina2", "z-image", "cogview4"])
def test_a_family_that_wraps_the_prompt_is_not_guessed_about(tmp_path: Path, name: str) -> None:
    reader = PromptReader(Layout.of(str(save(name, tmp_path))))
    assert not reader.known and reader.cut(LONG) == LONG


def test_letters_that_are_no_ascii_are_counted_and_kept_whole(tiny_text_to_image: Path) -> None:
    reader = PromptReader(Layout.of(str(tiny_text_to_image)))
    word, text = "\u00e9t\u00e9", "\u00e9t\u00e9 " * 20
    assert text.startswith(reader.cut(text)) and reader.cut(text) != text and reader.cut(word) == word


def test_a_short_prompt_loads_no_tokenizer(tiny_text_to_image: Path) -> None:
    reader = PromptReader(Layout.of(str(tiny_text_to_image)))
    assert reader.cut("a man") == "a man" and "tokenizer" not in vars(reader)


def test_a_damaged_tokenizer_is_one_line(tmp_path: Path) -> None:
    folder = save("sd1", tmp_path)
    (folder / "tokenizer" / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="folder tokenizer: the tokenizer does not load .*; fetch it again$"):
        PromptReader(Layout.of(str(folder))).cut(LONG)

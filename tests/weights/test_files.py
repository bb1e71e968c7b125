"""Folders of weights as strangers have them: only fp16 files, only pickles, a checkout without its large files."""

import math
import os
import shutil
from pathlib import Path

import pytest

from factory.errors import UserError
from factory.models.diffusion.text_to_image import TextToImage
from factory.weights.files import check_file, read_json
from factory.weights.folders import check_pointers, choose_variant
from tests.support.tiny_models import POINTER


@pytest.fixture
def folder(tiny_text_to_image: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_text_to_image, tmp_path / "model")


def weights(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_a_folder_with_only_fp16_files_is_told_its_variant(folder: Path) -> None:
    for file in weights(folder):
        file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    with pytest.raises(UserError, match="holds only variant fp16; write `variant: fp16`$"):
        TextToImage(str(folder))
    assert TextToImage(str(folder), variant="fp16").generate(["a man"], [1], 64, 1).shape == (1, 64, 64, 3)


def test_a_variant_that_only_some_parts_have_is_taken_there(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    TextToImage(str(folder), variant="fp16")
    with pytest.raises(UserError, match="folder unet: holds only variant fp16"):
        TextToImage(str(folder))


def test_a_variant_that_no_part_has_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="has only plain files, none of variant fp16; leave variant out"):
        TextToImage(str(folder), variant="fp16")


def test_a_folder_with_only_pickles_is_told_how_to_convert(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(UserError, match="vae: holds only diffusion_pytorch_model.bin, a pickle, .*: python -c"):
        TextToImage(str(folder))


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "tokenizer/vocab.json"])
def test_a_git_lfs_pointer_is_told_to_be_pulled(folder: Path, name: str) -> None:
    found = folder / name if (folder / name).is_file() else folder / "tokenizer" / "tokenizer.json"
    found.write_text(POINTER)
    with pytest.raises(UserError, match=f"{found.name} is a Git LFS pointer, .*; run `git lfs pull` in its folder$"):
        TextToImage(str(folder))


def test_a_pointer_that_no_stage_needs_does_no_harm(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.bin").write_text(POINTER)
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_text(POINTER)
    TextToImage(str(folder))


def test_a_folder_without_weights_is_to_be_fetched_again(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"folder unet: no weights in it \(.safetensors\); fetch it again$"):
        TextToImage(str(folder))


def test_a_shard_that_is_missing_is_counted(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    whole = len(header).to_bytes(8, "little") + header + b"\0" * 4
    for i in (1, 3):
        (tmp_path / f"model-{i:05d}-of-00003.safetensors").write_bytes(whole)
    with pytest.raises(UserError, match="^here: lacks 1 of 3 shards; fetch it again$"):
        choose_variant(tmp_path, "here", None)
    (tmp_path / "model-00002-of-00003.safetensors").write_bytes(whole)
    assert choose_variant(tmp_path, "here", None) is None and choose_variant(tmp_path, "here", "fp16") is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 7, b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x04\0\0\0\0\0\0\0{1:}", b"\x02\0\0\0\0\0\0\0{}x"],
    ids=["empty", "short", "noise", "no-mapping", "no-json", "longer"],
)
def test_a_damaged_header_is_one_line(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(data)
    with pytest.raises(UserError, match="^here: a.safetensors is damaged.*fetch it again$"):
        check_file(file, "here")


@pytest.mark.parametrize(
    "header",
    [b"[" * 100_000, b"[" + b"[]," * 3_000_000 + b"[]]", b'{"a": {"data_offsets": [0, 0], "shape": [1e999]}}'],
    ids=["deep", "many", "infinite"],
)
def test_a_header_that_would_fill_the_memory_is_damaged(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(UserError, match=r"^here: a.safetensors is damaged \(no header of safetensors\)"):
        check_file(tmp_path / "a.safetensors", "here")


def test_a_tokenizer_longer_than_any_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").touch()
    os.truncate(tmp_path / "tokenizer.json", 1 << 36)
    with pytest.raises(
        UserError, match="^here: tokenizer.json has 68,719,476,736 bytes, more than any such file; fetch"
    ):
        check_pointers(tmp_path, "here")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": [' + b"[]," * 1_100_000 + b"[]]}", "more than 1,000,000 values"),
        (b"{" + b" " * (1 << 24) + b"}", "more than the 16,777,216 bytes that are read here"),
        (b"[]", "no mapping"),
    ],
    ids=["deep", "many", "long", "list"],
)
def test_a_configuration_that_would_fill_the_memory_is_damaged(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"^here: .*config.json is damaged \({why}\); fetch it again$"):
        read_json(tmp_path / "config.json", "here")


def test_a_configuration_may_hold_infinity_as_schedulers_write_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"lambda_min_clipped": -Infinity}')
    assert read_json(tmp_path / "config.json", "here") == {"lambda_min_clipped": -math.inf}

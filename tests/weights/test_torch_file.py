"""Files of torch.save, old and new: read to the last bit as PyTorch reads them, with all that trainers put beside."""

from __future__ import annotations

import collections
import pathlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.weights.locate import resolve
from factory.weights.pickles import load_checkpoint, require_finite

WHAT = "HMR model"
BASE = torch.arange(24.0).view(4, 6)
TENSORS = {
    "plain": BASE,
    "transposed": BASE.t(),
    "view": BASE[1:3, ::2],
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 3),
    "half": torch.ones(2, dtype=torch.float16),
    "bfloat16": torch.tensor([1.5], dtype=torch.bfloat16),
    "double": torch.tensor([0.1], dtype=torch.float64),
    "complex": torch.tensor([1 + 2j]),
    "count": torch.tensor(7),
    "bool": torch.tensor([True, False]),
    "parameter": torch.nn.Parameter(torch.randn(3, generator=torch.Generator().manual_seed(0))),
}


def save(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_tensors_come_out_as_pytorch_saved_them(tmp_path: Path, new: bool, protocol: int) -> None:
    path = save(tmp_path / "m.pt", TENSORS, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    found = load_checkpoint(path, WHAT)
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor.detach()), name
    assert found["plain"].untyped_storage().data_ptr() == found["view"].untyped_storage().data_ptr()


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_shapes_come_out_without_the_numbers(tmp_path: Path, new: bool) -> None:
    path = save(tmp_path / "m.pt", TENSORS, _use_new_zipfile_serialization=new)
    found = load_checkpoint(path, WHAT, numbers=False)
    assert all(tensor.is_meta for tensor in found.values())
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in found.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in TENSORS.items()
    }
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match="m.pt is damaged"):
        load_checkpoint(path, WHAT, numbers=False)


def test_the_starters_own_weights_are_read_as_pytorch_reads_them() -> None:
    for path in Path(resolve("starter:vposer")).glob("snapshots/*.pt"):
        ours, theirs = load_checkpoint(path, WHAT), torch.load(path, weights_only=True)
        assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


class Callback:
    """Of a trainer: Lightning's checkpoints hold such."""

    def __init__(self) -> None:
        self.best, self.parent = 0.5, self


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_what_trainers_put_beside_the_weights_is_no_fault(tmp_path: Path, new: bool) -> None:
    content = {
        "state_dict": {"w": BASE},
        "callbacks": {Callback: Callback()},
        "best": np.float64(0.25),
        "step": np.int64(3),
        "array": np.eye(2),
        "output": pathlib.Path("runs/1"),
        "log": collections.defaultdict(list, loss=[1.0]),
        "device": torch.device("cuda:0"),
        "dtype": torch.float32,
        "size": torch.Size([2, 3]),
    }
    found = load_checkpoint(save(tmp_path / "m.ckpt", content, _use_new_zipfile_serialization=new), WHAT)
    assert torch.equal(found["state_dict"]["w"], BASE) and found["best"] == 0.25 and found["step"] == 3
    assert (found["output"], found["log"], found["size"]) == ("runs/1", {"loss": [1.0]}, (2, 3))


@pytest.mark.parametrize(("package", "make"), [
    ("omegaconf", lambda made: made.OmegaConf.create({"model": {"width": [1, 2]}})),
    ("yacs.config", lambda made: made.CfgNode({"MODEL": {"WIDTH": 2}})),
])  # fmt: skip
def test_settings_of_the_real_packages(tmp_path: Path, package: str, make: Any) -> None:
    settings = make(pytest.importorskip(package))
    found = load_checkpoint(save(tmp_path / "m.pt", {"model": {"w": BASE}, "cfg": settings}), WHAT)
    assert torch.equal(found["model"]["w"], BASE)


class Boom:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path: Path, new: bool, protocol: int) -> None:
    content = {"model": {"w": BASE}, "extra": Boom(tmp_path / "ran")}
    path = save(tmp_path / "m.pt", content, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    with pytest.raises(UserError, match="m.pt holds more than tensors .*and is not opened"):
        load_checkpoint(path, WHAT)
    assert not (tmp_path / "ran").exists()


def rezipped(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, data in change(members).items():
            new.writestr(name, data)
    return path


def test_files_that_are_something_else_are_told(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"

    def refused(words: str) -> None:
        with pytest.raises(UserError, match=words):
            load_checkpoint(path, WHAT)

    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    refused("m.pt is a TorchScript program, not weights")
    save(path, TENSORS)
    rezipped(path, lambda members: members, zipfile.ZIP_DEFLATED)
    refused("m.pt is a compressed zip")
    save(path, TENSORS)
    rezipped(path, lambda members: {**members, "m/data/0": members["m/data/0"][:-4]})
    refused("m.pt is damaged or no PyTorch file .*fetch it again")
    np.savez(tmp_path / "a.npz", a=np.eye(2))
    (tmp_path / "a.npz").rename(path)
    refused("m.pt is a zip that torch.save has not written")
    for content, words in (
        (b"", "m.pt is empty; fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "m.pt is a Git LFS pointer, .*git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "m.pt is a web page"),
        (b"\x10\0\0\0\0\0\0\0{             }" + bytes(64), "m.pt is a safetensors file"),
    ):
        path.write_bytes(content)
        refused(words)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_half_written_files_are_one_line(tmp_path: Path, new: bool) -> None:
    whole = save(tmp_path / "whole.pt", TENSORS, _use_new_zipfile_serialization=new).read_bytes()
    path = tmp_path / "m.pt"
    for length in (1, 20, 200, len(whole) // 2, len(whole) - 8):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="m.pt is damaged .*fetch it again"):
            load_checkpoint(path, WHAT)


def test_a_tensor_reaches_no_further_than_its_storage(tmp_path: Path) -> None:
    """PyTorch makes the storage larger instead: a few bytes that ask for a terabyte."""
    path = save(tmp_path / "m.pt", {"w": torch.zeros(3, 5)})
    rezipped(path, lambda members: {**members, "m/data.pkl": members["m/data.pkl"].replace(b"K\3K\5", b"K\3K\6")})
    with pytest.raises(UserError, match="reaches beyond its storage"):
        load_checkpoint(path, WHAT)


def test_nan_is_told_by_the_layer() -> None:
    require_finite({"a": torch.ones(2), "n": torch.tensor(3), "b": np.ones(2)}, "HMR model x")
    for value in (torch.tensor([1.0, torch.nan]), np.array([np.inf])):
        with pytest.raises(UserError, match="^HMR model x: conv1.weight is not finite everywhere"):
            require_finite({"a": torch.ones(2), "conv1.weight": value}, "HMR model x")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_bytes_changed_anywhere_are_one_line_or_harmless(tmp_path: Path, new: bool) -> None:
    """300 files with a few bytes changed: a value or a UserError, no other exception."""
    whole = save(tmp_path / "whole.pt", {"w": torch.ones(3), "o": Callback()}, _use_new_zipfile_serialization=new)
    data, random = whole.read_bytes(), np.random.default_rng(0)
    path, refused = tmp_path / "m.pt", 0
    for _ in range(300):
        changed = bytearray(data)
        for place in random.integers(0, len(data), random.integers(1, 4)):
            changed[place] = random.integers(256)
        path.write_bytes(changed)
        try:
            load_checkpoint(path, WHAT)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20

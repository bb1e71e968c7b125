"""The estimator that fine-tuning starts from and the one that it writes, in the same layout."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from torch import nn

from factory.home import at_home
from factory.models.hmr.part_hmr import PartHMR
from factory.models.hmr.spin import SpinHMR, load_hmr_network
from factory.weights.locate import resolve

FOLDER, FILE = "model", "model_checkpoint.pt"  # the second as SPIN calls it
HMR = SpinHMR | PartHMR


def load_start(model: str) -> HMR:
    """The network of SPIN's checkpoint, of a folder or of a part of the starter pack. UserError as
    `load_hmr_network`."""
    return load_hmr_network(str(at_home(resolve(model))))


def model_path(start: str, out: Path) -> Path:
    """Where `write_network` writes: a folder where the start is one, else a file."""
    return out / (FOLDER if at_home(resolve(start)).is_dir() else FILE)


def write_network(network: nn.Module, config: dict[str, object], path: Path) -> None:
    """Write the network to `path` of `model_path`: a checkpoint as SPIN's, a dict with the key 'model', which holds the
    network's starting point (init_pose, init_shape, init_cam) too; or a folder with config.json and model.safetensors.

    Files are written under a temporary name and renamed, so that a kill leaves the old ones or the new ones.
    """
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if path.name == FILE:
        file = path
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model": state}, temporary := file.with_name("model.tmp"))
    else:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        file = path / "model.safetensors"
        save_file(state, temporary := file.with_suffix(".tmp"))
    with open(temporary, "rb") as written:
        os.fsync(written.fileno())
    os.replace(temporary, file)

"""The networks whose features images are compared by, and which figures each of them gives.

A figure carries the name of its extractor: FID and KID are Inception's alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.evaluate.inception import SIDE, load_inception
from factory.evaluate.resizing import resized
from factory.geometry.crops import MEAN, STD
from factory.models.device import quiet
from factory.weights.catalogue import CLIP, DINOV2, INCEPTION, ModelKind, evaluation_needs
from factory.weights.files import check_file
from factory.weights.folders import check_pointers
from factory.weights.locate import locate, resolve
from factory.weights.networks import load_network

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
DEFAULT = "starter"
Colour = tuple[float, float, float]
Read = Callable[[Any, Tensor], Tensor]  # (network, normalised images) -> features
EVALUATION = evaluation_needs()
MODELS = {  # kind -> where its weights are looked for, if no other place is named
    "starter": "starter:hmr",
    **{kind: EVALUATION[kind].model for kind in ("inception", "dinov2", "clip")},
}
FIGURES = {  # kind -> statistic (a function of `statistics`) -> name of the figure
    "starter": {
        "frechet_distance": "FD-starter", "kernel_distance": "KD-starter", "cmmd": "MMD-starter",
        "precision": "precision", "recall": "recall",
    },
    "inception": {"frechet_distance": "FID", "kernel_distance": "KID", "precision": "precision", "recall": "recall"},
    "dinov2": {"frechet_distance": "FD-DINOv2", "precision": "precision", "recall": "recall"},
    "clip": {"cmmd": "CMMD"},
}  # fmt: skip
ABOUT = {
    "starter": "the residual network of the starter pack's body estimator, trained on rendered people; not Inception: "
    "its figures compare with each other, not with published ones",
    "inception": "FID's Inception of 2015-12-05, its last average pooling",
    "dinov2": "DINOv2's class token",
    "clip": "CLIP's image embedding",
}


@dataclass(frozen=True)
class Extractor:
    """A network and how images are put before it. network: (N, 3, side, side) 0 ... 255 -> (N, D)."""

    kind: str
    model: str
    side: int
    network: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: list[np.ndarray]) -> Tensor:
        """images: (H, W, 3) uint8, of any size -> features (N, D) float64 on the CPU. UserError: not finite."""
        batch = torch.from_numpy(np.stack([resized(image, self.side) for image in images]))
        features = self.network(batch.permute(0, 3, 1, 2).contiguous().to(self.device)).double().cpu()
        if not torch.isfinite(features).all():
            raise UserError(f"--features {self.kind}: {self.model} gives what is not finite; fetch it again")
        return features

    @property
    def about(self) -> str:
        """What the features are, in a line."""
        return f"{self.kind} = {ABOUT[self.kind]} ({self.model}, {self.side} px)"


def load_extractor(words: str, device: torch.device) -> Extractor:
    """words: KIND or KIND=MODEL, as `--features` takes them. UserError: no such kind; the weights are not there, with
    their source and licence; or they do not load."""
    kind, _, model = words.partition("=")
    if kind not in MODELS:
        raise UserError(f"--features {kind}: there are {', '.join(MODELS)}")
    model = model or MODELS[kind]
    loaders = {"starter": _starter, "inception": _inception, "dinov2": _dinov2, "clip": _clip}
    network, side = loaders[kind](model)
    return Extractor(kind, model, side, _on(network, device), device)


def _on(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    return network.eval().requires_grad_(False).to(device)


class _Normalised(torch.nn.Module):
    """Feeds a network with (x / 255 - mean) / std, and takes from its answer what `read` says."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: torch.nn.Module, read: Read, mean: Colour, std: Colour) -> None:
        super().__init__()
        self.network, self.read = network, read
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.network, (x / 255 - self.mean) / self.std)


def _starter(model: str) -> tuple[torch.nn.Module, int]:
    from factory.models.hmr.spin import load_hmr_network

    network = load_hmr_network(resolve(model))
    read = lambda network, x: network.stages(x)[-1].mean((2, 3))  # noqa: E731
    return _Normalised(network, read, MEAN, STD), network.config["crop"]


def _inception(model: str) -> tuple[torch.nn.Module, int]:
    path = INCEPTION.find(model)
    check_file(path, f"{INCEPTION.title} {model}")
    return load_inception(path, f"{INCEPTION.title} {model}"), SIDE


def _dinov2(model: str) -> tuple[torch.nn.Module, int]:
    from transformers import Dinov2Model

    network = _pretrained(DINOV2, Dinov2Model, model)
    # 224 px, as in the paper of the metric (Stein et al. 2023): the network interpolates its positions from 518.
    return _Normalised(network, lambda network, x: network(x).pooler_output, MEAN, STD), 224


def _clip(model: str) -> tuple[torch.nn.Module, int]:
    from transformers import CLIPVisionModelWithProjection

    network = _pretrained(CLIP, CLIPVisionModelWithProjection, model)
    read = lambda network, x: network(x).image_embeds  # noqa: E731
    return _Normalised(network, read, CLIP_MEAN, CLIP_STD), network.config.image_size


def _pretrained(kind: ModelKind, family: type, model: str) -> Any:
    """A network of transformers from a folder or a hub id. UserError: not there, or it does not load."""
    quiet()
    label = f"{kind.title} {model}"
    try:
        folder = locate(model)
    except UserError as error:
        raise UserError(f"{error}{kind.remedy}") from error
    if folder is not None:
        kind.require(folder, model)
        check_pointers(folder, label, ())
    try:
        return load_network(
            family, label, str(folder or model), local_files_only=folder is not None, dtype=torch.float32
        )
    except UserError as error:
        raise UserError(f"{error}{kind.remedy}") from error

"""VPoser V02_05 (Pavlakos et al. 2019, release of 2020): its network, with layers under their published names.

The network is written out here and never taken from the authors' package: the packages that happen to be installed must
not change a data set, and the authors' loader would unpickle whatever the checkpoint holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import softplus

from factory.geometry.rotations import sixd_to_matrix

JOINTS = 21


class _Gaussian(nn.Module):
    def __init__(self, neurons: int, latent: int) -> None:
        super().__init__()
        self.mu, self.logvar = nn.Linear(neurons, latent), nn.Linear(neurons, latent)

    def forward(self, x: Tensor) -> Normal:
        return Normal(self.mu(x), softplus(self.logvar(x)))  # the published layer is called logvar, but is no logarithm


class VPoserV2(nn.Module):
    """neurons: width of the hidden layers, 512 as published; latent: length of the code, 32 as published."""

    def __init__(self, neurons: int = 512, latent: int = 32) -> None:
        super().__init__()
        self.encoder_net = nn.Sequential(
            nn.Flatten(),
            nn.BatchNorm1d(3 * JOINTS),
            nn.Linear(3 * JOINTS, neurons),
            nn.LeakyReLU(),
            nn.BatchNorm1d(neurons),
            nn.Dropout(0.1),
            nn.Linear(neurons, neurons),
            nn.Linear(neurons, neurons),
            _Gaussian(neurons, latent),
        )
        self.decoder_net = nn.Sequential(
            nn.Linear(latent, neurons),
            nn.LeakyReLU(),
            nn.Dropout(0.1),
            nn.Linear(neurons, neurons),
            nn.LeakyReLU(),
            nn.Linear(neurons, 6 * JOINTS),
        )

    def encode(self, body_pose: Tensor) -> Normal:
        """(N, 63) axis-angle -> the distribution of the code, (N, latent)."""
        return self.encoder_net(body_pose)

    def decode(self, code: Tensor) -> Tensor:
        """(N, latent) -> rotation matrices (N, 21, 3, 3)."""
        return sixd_to_matrix(self.decoder_net(code).view(-1, JOINTS, 6))


def build(folder: Path, stored: Mapping[str, Any]) -> VPoserV2:
    """The network of a trainer's checkpoint, whose weights are called with or without `vp_model.` in front. folder:
    where the checkpoint was found; nothing else in it is read.

    KeyError for a missing layer, RuntimeError for one of another shape.
    """
    state = stored["state_dict"]
    weights = {name.removeprefix("vp_model."): value for name, value in state.items() if torch.is_tensor(value)}
    neurons, latent = weights["encoder_net.2.weight"].shape[0], weights["decoder_net.0.weight"].shape[1]
    network = VPoserV2(neurons, latent)
    wanted = network.state_dict().keys()
    missing = [name for name in wanted if name not in weights and not name.endswith("num_batches_tracked")]
    if missing:
        raise KeyError(missing[0])
    # Not strict: the checkpoint also holds the body model that the trainer measured its loss with.
    network.load_state_dict({name: weights[name].float() for name in wanted if name in weights}, strict=False)
    return network

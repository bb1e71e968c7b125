"""VPoser V02_05 (Pavlakos et al. 2019, release of 2020): its layers under their published names.

Our own module, whether or not the authors' package is there: what happens to be installed must not change a data set,
and their loader would unpickle whatever the checkpoint holds.
"""

from __future__ import annotations

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
        return Normal(self.mu(x), softplus(self.logvar(x)))  # softplus, whatever the name says


class VPoserV2(nn.Module):
    """neurons: width of the hidden layers, 512 as published; latent: length of the code, 32."""

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
        """(N, 63) axis-angle -> the code's distribution, (N, latent)."""
        return self.encoder_net(body_pose)

    def decode(self, code: Tensor) -> Tensor:
        """(N, latent) -> (N, 21, 3, 3)."""
        return sixd_to_matrix(self.decoder_net(code).view(-1, JOINTS, 6))


def from_state(state: dict[str, Tensor]) -> VPoserV2:
    """The module of a checkpoint's state dict, its names with or without `vp_model.`.

    KeyError for a missing layer, RuntimeError for one of another shape.
    """
    weights = {name.removeprefix("vp_model."): value for name, value in state.items() if torch.is_tensor(value)}
    neurons, latent = weights["encoder_net.2.weight"].shape[0], weights["decoder_net.0.weight"].shape[1]
    network = VPoserV2(neurons, latent)
    wanted = network.state_dict().keys()
    missing = [name for name in wanted if name not in weights and not name.endswith("num_batches_tracked")]
    if missing:
        raise KeyError(missing[0])
    # A trainer's checkpoint also holds the body model that its loss was measured on.
    network.load_state_dict({name: weights[name].float() for name in wanted if name in weights}, strict=False)
    return network

"""VPoser v1.0 (Pavlakos et al. 2019): the network of the authors' package, with the weights of a published folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn


def build(folder: Path, stored: Mapping[str, Tensor]) -> nn.Module:
    """The network whose sizes the folder's *.ini gives. stored: the snapshot's weights by name. RuntimeError and others
    where they do not fit."""
    from configer import Configer
    from human_body_prior.train.vposer_smpl import VPoser

    settings: Any = Configer(default_ps_fname=str(max(folder.glob("*.ini"))))
    network = VPoser(settings.num_neurons, settings.latentD, settings.data_shape)
    network.load_state_dict({name: value.float() for name, value in stored.items()})
    return network

"""The pose prior VPoser v1 (Pavlakos et al. 2019): how far a pose is from the everyday ones it was trained on."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError

BODY = 63  # the 21 joints VPoser knows, axis-angle: SMPL's body pose without the hands


class VPoserPrior:
    """Reads an experiment folder as published: snapshots/*.pt, *.ini (and a vposer_*.py, which is not run).

    `human_body_prior.load_vposer` would import the folder's Python file; this builds the package's own class instead
    and takes nothing but tensors and literals from the folder.
    """

    def __init__(self, model: str, device: str | torch.device = "cpu") -> None:
        from configer import Configer
        from human_body_prior.train.vposer_smpl import VPoser

        settings = Configer(default_ps_fname=str(_last(model, "*.ini")))
        snapshot = _last(model, "snapshots/*.pt")
        try:
            network = VPoser(settings.num_neurons, settings.latentD, settings.data_shape)
            weights = torch.load(snapshot, map_location="cpu", weights_only=True)
            network.load_state_dict({name: value.float() for name, value in weights.items()})
        except (AttributeError, RuntimeError, pickle.UnpicklingError) as error:
            raise UserError(f"VPoser {model} does not load: {str(error).splitlines()[0]}; give a v1 folder") from error
        self.network = network.eval().to(device)
        self.device = torch.device(device)

    @torch.no_grad()
    def score(self, body_pose: np.ndarray, seeds: list[int], mode: str = "sample") -> np.ndarray:
        """body_pose (N, 69) axis-angle; one seed per row -> (N,) float32: the code's SUM OF SQUARES.

        mode `sample`: of one draw from N(mu, sigma), each row by its own seed; `expected`: the mean of that,
        |mu|^2 + sum sigma^2.
        An everyday pose scores about the code's length, 32; harder ones more.
        """
        if not len(body_pose):
            return np.zeros(0, np.float32)
        pose = torch.as_tensor(np.asarray(body_pose, np.float32)[:, :BODY], device=self.device)
        code = self.network.encode(pose)
        if mode == "expected":
            return _squares(code.mean).add(_squares(code.stddev)).cpu().numpy()
        draws = [torch.randn(code.mean.shape[1], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return _squares(code.mean + code.stddev * torch.stack(draws).to(self.device)).cpu().numpy()


def _squares(x: Tensor) -> Tensor:
    return x.square().sum(1)


def _last(folder: str, pattern: str) -> Path:
    found = sorted(Path(folder).glob(pattern))
    if not found:
        raise UserError(f"VPoser folder {folder}: no {pattern}; give a v1 experiment folder (snapshots/*.pt, *.ini)")
    return found[-1]  # by name, TR.._E...: time stamps do not survive a copy

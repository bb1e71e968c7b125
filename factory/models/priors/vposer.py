"""The pose prior VPoser (Pavlakos et al. 2019): how far a pose is from the everyday ones it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.geometry.rotations import matrix_to_axis_angle
from factory.home import at_home
from factory.weights.locate import resolve
from factory.weights.pickles import load_checkpoint, require_finite

BODY = 63  # the 21 joints VPoser knows, axis-angle: SMPL's body pose without the hands
LAYOUTS = {
    "vposer-v1": ("snapshots/*.pt", "vposer_v1_0: snapshots/TR00_*.pt and TR00_*.ini"),
    "vposer-v2": ("snapshots/*.ckpt", "V02_05: snapshots/V02_05_epoch=13_val_loss=0.03.ckpt"),
}
GET = "get it from https://smpl-x.is.tue.mpg.de after registration"


class VPoserPrior:
    """Reads an experiment folder as published, LAYOUTS by kind. Its Python file is not run, nor is anything unpickled
    but tensors: `load_vposer` and `load_model` of the authors' packages would do both.
    """

    def __init__(self, model: str, device: str | torch.device = "cpu", kind: str = "vposer-v1") -> None:
        """UserError for what is missing, damaged, or of other shapes than the kind's."""
        snapshot = _last(model, LAYOUTS[kind][0], kind)
        build = _v1 if kind == "vposer-v1" else _v2
        try:
            network = build(model, snapshot)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            words = (str(error).splitlines() or [""])[-1].strip()
            raise UserError(f"pose prior {snapshot} has other layers than {kind} ({words}); {GET}") from error
        require_finite(network.state_dict(), f"pose prior {snapshot}")
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

    @torch.no_grad()
    def encode(self, body_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """body_pose (N, 69) axis-angle -> mean and standard deviation of its code, (N, 32) float32 each (Eq. 8)."""
        code = self.network.encode(torch.as_tensor(np.asarray(body_pose, np.float32)[:, :BODY], device=self.device))
        return code.mean.cpu().numpy(), code.stddev.cpu().numpy()

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """codes (N, 32) -> (N, 63) float32: the 21 joints that the prior knows, axis-angle (Eq. 10)."""
        turns = self.network.decode(torch.as_tensor(np.asarray(codes, np.float32), device=self.device))
        return matrix_to_axis_angle(turns.view(len(codes), -1, 3, 3)).reshape(len(codes), BODY).cpu().numpy()


def _squares(x: Tensor) -> Tensor:
    return x.square().sum(1)


def _v1(model: str, snapshot: Path) -> Any:
    from configer import Configer
    from human_body_prior.train.vposer_smpl import VPoser

    settings = Configer(default_ps_fname=str(_last(model, "*.ini", "vposer-v1")))
    network = VPoser(settings.num_neurons, settings.latentD, settings.data_shape)
    weights = load_checkpoint(snapshot, "pose prior")
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return network


def _v2(model: str, snapshot: Path) -> Any:
    from factory.models.priors.vposer_v2 import from_state

    return from_state(load_checkpoint(snapshot, "pose prior")["state_dict"])


def _last(folder: str, pattern: str, kind: str) -> Path:
    found = sorted(at_home(resolve(folder)).glob(pattern))
    if not found:
        raise UserError(f"pose prior {folder}: no {pattern}; {kind} is a folder {LAYOUTS[kind][1]}; {GET}")
    return found[-1]  # by name, TR.._E...: time stamps do not survive a copy

"""Train the pose prior (VPoser v1, the class of the package human_body_prior) on the actions of the starter world.

All training poses come from the actions that are not hard, so that hard poses lie far out in the latent space: that is
what the prior's score measures. (With 3 % of hard poses among them the score separated hard from easy less well: ROC
AUC 0.87 instead of 0.94.)
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from factory.geometry.rotations import axis_angle_to_matrix
from factory.models.priors.choice import load_prior
from factory.starter.train.samples import vposer_samples
from factory.starter.world.actions import ACTIONS, sample_pose
from factory.starter.world.pose import to_smpl
from factory.training.average import EMA
from factory.training.learner import Descent, Learner
from factory.training.loop import fit
from factory.training.options import TrainingOptions
from factory.training.randomness import seed_everything, step_rng
from factory.training.tensors import training_device

BATCH, RATE = 128, 1e-3
SIZES = {"num_neurons": 512, "latentD": 32, "data_shape": [1, 21, 3]}
POSES = 40_000
HARD_SHARE = 0.0  # of the training poses
PRIOR = 0.9  # standard deviation of the codes; below 1, so that the method's threshold, 30, separates easy from hard
KL_WEIGHT = 0.005  # against the summed squared error of the 21 rotation matrices
JITTER = 0.04  # rad, standard deviation: the small errors of an estimator's poses
CODE = '''"""The network of this folder: VPoser v1 as the package human_body_prior ships it."""

from human_body_prior.train.vposer_smpl import VPoser

__all__ = ["VPoser"]
'''


def draw_poses(count: int, seed: int, hard_share: float) -> np.ndarray:
    """Body poses (count, 63) axis-angle float32 of drawn actions, a share of them hard ones."""
    rng = np.random.default_rng(seed)
    groups = {flag: [a for a in ACTIONS.values() if a.hard is flag] for flag in (False, True)}
    hard = rng.random(count) < hard_share
    poses = np.empty((count, 63), np.float32)
    for i, flag in enumerate(hard):
        action = groups[bool(flag)][rng.integers(len(groups[bool(flag)]))]
        poses[i] = to_smpl(sample_pose(action, rng))[1:22].ravel()
    return poses


def build_vposer() -> Any:
    """The package's network, with random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns of its own deprecated imports
        from human_body_prior.train.vposer_smpl import VPoser
    return VPoser(**SIZES)


def vposer_losses(model: Any, pose: Tensor) -> dict[str, Tensor]:
    """pose (N, 63) axis-angle -> the weighted terms, to be summed."""
    code = model.encode(pose)
    matrices = model.decode(code.rsample()).view(-1, 21, 3, 3)
    error = (matrices - axis_angle_to_matrix(pose.view(-1, 21, 3))).square().sum((1, 2, 3))
    divergence = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, PRIOR)).sum(1)
    return {"rotations": error.mean(), "kl": KL_WEIGHT * divergence.mean()}


def export_vposer(model: nn.Module, folder: Path) -> None:
    """Write what `human_body_prior.load_vposer` reads: snapshots/*.pt (half precision), *.ini and vposer_*.py."""
    (folder / "snapshots").mkdir(parents=True, exist_ok=True)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    torch.save(weights, folder / "snapshots" / "TR00_starter.pt")
    values = "\n".join(f"{key} = {value}" for key, value in SIZES.items())
    (folder / "TR00_starter.ini").write_text(f"[All]\n{values}\nuse_cont_repr = True\n")
    (folder / "vposer_smpl.py").write_text(CODE)


def train_vposer(options: TrainingOptions, start: Path | None = None, pool_size: int = POSES) -> None:
    """Train on a pool of drawn poses. start: an earlier export to start from."""
    seed_everything(options.seed, options.threads)
    batch_size, rate = options.batch or BATCH, options.rate or RATE
    pool = torch.from_numpy(draw_poses(pool_size, options.seed, HARD_SHARE))
    model = build_vposer()
    if start:
        model.load_state_dict(load_prior("vposer-v1", str(start)).network.state_dict())
    model.to(training_device()).train()
    average, parameters = EMA(model), list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4)
    descent = Descent(lambda batch: vposer_losses(model, batch["pose"]), optimizer, parameters, record=False)
    learner = Learner(model, descent, rate, average=average)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        rng = step_rng(options.seed, index)
        pose = pool[torch.from_numpy(rng.integers(len(pool), size=batch_size))]
        pose = pose + torch.from_numpy(rng.normal(0, JITTER, pose.shape)).float()
        return learner.step(index, fraction, {"pose": pose.to(training_device())})

    fit(
        "vposer", options, step, learner.parts,
        lambda: export_vposer(average.model, options.export), lambda: vposer_samples(options.export, pool.numpy()),
    )  # fmt: skip

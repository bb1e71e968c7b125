"""Train the pose prior (VPoser v1, the class of the package human_body_prior) on the actions of the starter world.

    python -m factory.starter.train.vposer --out DIR --minutes 10

All training poses come from the actions that are not hard, so that hard ones lie far out in the latent space: that is
what the score measures. (With 3 % of hard poses among them the score told them apart less well: ROC AUC 0.87 for 0.94.)
"""

from __future__ import annotations

import math
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from factory.geometry.rotations import axis_angle_to_matrix
from factory.models.priors.choice import load_prior
from factory.starter.train import common, pictures
from factory.starter.world.actions import ACTIONS, sample_pose
from factory.starter.world.pose import to_smpl

SIZES = {"num_neurons": 512, "latentD": 32, "data_shape": [1, 21, 3]}
POSES = 40_000
HARD_SHARE = 0.0  # of the training poses
PRIOR = 0.9  # standard deviation; below 1 so that the method's threshold, 30, falls between easy and hard poses
KL_WEIGHT = 0.005  # against the summed squared error of the 21 rotation matrices
CODE = '''"""The network of this folder: VPoser v1 as the package human_body_prior ships it."""

from human_body_prior.train.vposer_smpl import VPoser

__all__ = ["VPoser"]
'''


def poses(count: int, seed: int, hard_share: float) -> tuple[np.ndarray, np.ndarray]:
    """Sampled body poses (count, 63) axis-angle float32, and whether their action is hard (count,) bool."""
    rng = np.random.default_rng(seed)
    groups = {flag: [a for a in ACTIONS.values() if a.hard is flag] for flag in (False, True)}
    hard = rng.random(count) < hard_share
    out = np.empty((count, 63), np.float32)
    for i, flag in enumerate(hard):
        action = groups[bool(flag)][rng.integers(len(groups[bool(flag)]))]
        out[i] = to_smpl(sample_pose(action, rng))[1:22].ravel()
    return out, hard


def build() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own deprecations
        from human_body_prior.train.vposer_smpl import VPoser
    return VPoser(**SIZES)


def losses(model: Any, pose: Tensor) -> dict[str, Tensor]:
    """pose (N, 63) -> the weighted terms, to be summed."""
    code = model.encode(pose)
    matrices = model.decode(code.rsample()).view(-1, 21, 3, 3)
    error = (matrices - axis_angle_to_matrix(pose.view(-1, 21, 3))).square().sum((1, 2, 3))
    divergence = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, PRIOR)).sum(1)
    return {"rotations": error.mean(), "kl": KL_WEIGHT * divergence.mean()}


def export(model: nn.Module, directory: str | Path) -> None:
    """The folder that `human_body_prior.load_vposer` reads: snapshots/*.pt (half precision), *.ini, vposer_*.py."""
    folder = Path(directory)
    (folder / "snapshots").mkdir(parents=True, exist_ok=True)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    torch.save(weights, folder / "snapshots" / "TR00_starter.pt")
    values = "\n".join(f"{key} = {value}" for key, value in SIZES.items())
    (folder / "TR00_starter.ini").write_text(f"[All]\n{values}\nuse_cont_repr = True\n")
    (folder / "vposer_smpl.py").write_text(CODE)


def train(a: Namespace) -> None:
    common.seed_everything(a.seed, a.threads)
    pool = torch.from_numpy(poses(a.poses, a.seed, HARD_SHARE)[0])
    model = build()
    if a.start:
        model.load_state_dict(load_prior("vposer-v1", str(a.start)).network.state_dict())
    model.to(common.device()).train()
    average = common.EMA(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=a.rate, weight_decay=1e-4)

    def step(index: int, fraction: float) -> dict[str, float | Tensor]:
        common.set_learning_rate(optimizer, common.learning_rate(a.rate, index, fraction))
        rng = common.rng(a.seed, index)
        batch = pool[torch.from_numpy(rng.integers(len(pool), size=a.batch))]
        batch = batch + torch.from_numpy(rng.normal(0, 0.04, batch.shape)).float()  # an estimator's small errors
        terms = losses(model, batch.to(common.device()))
        values = common.descend(terms, optimizer, model.parameters(), math.inf)
        average.update(model)
        return values

    parts = {"model": model, "optimizer": optimizer, "average": average}
    common.fit(
        "vposer", a, step, parts,
        lambda: export(average.model, a.export), lambda: pictures.vposer(a.export, pool.numpy()),
    )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = common.parser(__doc__, batch=128, rate=1e-3, cache=False)
    parser.add_argument("--poses", type=int, default=POSES, help="size of the pool of training poses")
    train(parser.parse_args(argv))


if __name__ == "__main__":
    main()

"""Bodies fitted to 2D keypoints by SMPLify (Bogo et al. 2016), in batches, from a network's estimates: the 3D targets
of the method spin-ft, which makes them while the network trains, as SPIN does (Kolotouros et al. 2019).

A fit has two stages, which are SPIN's. The first moves the camera and the global orientation until the torso lies on
its keypoints. The second moves pose, shape and global orientation, by a robust loss of all keypoints (Geman-McClure)
and by priors on pose, shape, and on elbows and knees that bend the wrong way.

What differs from SPIN, and why:

The pose prior. SPIN takes the mixture of Gaussians of SMPLify's authors (gmm_08.pkl), which comes under SMPL's licence
and which no job names. The prior here is the one that jobs name, VPoser. The energy of a pose is |mu|^2, the sum of
squares of the mean of its latent code. It is low for everyday poses, as the mixture's is.

The weights of the priors on pose and angles are a tenth of SPIN's. The domains to fine-tune on are of hard poses, which
an everyday prior bends back, and SPIN's prior on angles already costs a straight knee as much as an error of 15 px
costs a joint. With SPIN's weights, the fits of 64 held-out people of the starter world, started from starter:hmr,
keep 33 % of the 2D error and their PA-MPJPE rises from 33 to 37 mm; with these, they keep 16 % and it falls to 27 mm.

The camera. SPIN moves it in metres and holds the depth almost fixed. Here the first stage may change the scale by some
percent, because a network's cameras, too, are wrong in a domain that is new to it.

The joint loss of a person is the mean over the known joints. SPIN's is the mean over 49, unknown ones counted as 0,
which a person with few keypoints passes easily.

Shapes: N bodies; pose (N, 72) axis-angle in rad, camera frame, the root's first; betas (N, 10); camera (N, 3) =
(s, tx, ty), see `geometry.camera`; keypoints (N, 24, 3) in the order J24: x and y in crop coordinates, -1 ... 1 from
edge to edge, and the confidence, 0 = unknown. All lie on the device of the body model. A pixel is one of a crop of
`geometry.camera.CROP` px.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import CROP, project_on_crop
from factory.geometry.joints import J24, J24_PART, picks
from factory.geometry.rotations import axis_angle_to_matrix
from factory.models.priors.base import PosePrior

RATE = 1e-2  # of Adam, in both stages
SIGMA = 100.0  # px: an error far beyond it no longer pulls
POSE, ANGLE, SHAPE = 0.1 * 4.78**2, 0.1 * 15.2**2, 5.0**2  # px^2: the weights of the priors
SCALE = 2e4  # px^2: the weight of the squared logarithm of the change of scale, in the first stage
GOOD = 100.0  # px^2: a fit with a lower joint loss is used as a target
EXTREME = 3.0  # betas beyond it are no shape of a person: the fit failed in them
HIPS = picks(("right_hip_lsp", "left_hip_lsp"), J24)  # annotators place them too differently for the second stage
TORSO = picks(("right_hip_lsp", "left_hip_lsp", "right_shoulder", "left_shoulder"), J24)
FEWEST = 3  # joints of the torso; a person of whom fewer are known is placed by all that are known
# Elbows and knees: the number of the angle about which each bends in the body pose, and the sign of overstretching.
HINGES, OVERSTRETCHED = (52, 55, 9, 12), (1.0, -1.0, -1.0, -1.0)


@dataclass(frozen=True, eq=False)
class Fit:
    """N fitted bodies, on the device of the body model, without gradients.

    pose (N, 72), betas (N, 10), camera (N, 3): see the module. loss (N,) px^2: the joint loss, by which fits of the
    same person are compared; inf where no joint is known. reprojection (N,) px: the mean distance of the known
    keypoints from the projected joints, NaN where none is known.
    """

    pose: Tensor
    betas: Tensor
    camera: Tensor
    loss: Tensor
    reprojection: Tensor

    @property
    def rotations(self) -> Tensor:
        """(N, 24, 3, 3): the pose as matrices."""
        return _matrices(self.pose)


def fit(
    body: BodyModel, pose: Tensor, betas: Tensor, camera: Tensor, keypoints: Tensor, prior: PosePrior, steps: int = 100
) -> Fit:
    """Fit N bodies to their keypoints from the given start, in `steps` steps of each of the two stages.

    Only the priors move a person without a known keypoint, whose loss is inf. prior: on the device of the body. Nothing
    that is given is changed, and no network gets a gradient. The fit of a person does not depend on the others of the
    batch, but for rounding.
    """
    weight = keypoints[..., 2].square()
    camera, orient = _placed(body, pose, betas, camera, keypoints, weight, steps)
    weight[:, HIPS] = 0
    body_pose, betas = pose[:, 3:].detach().clone(), betas.detach().clone()
    overstretched = torch.tensor(OVERSTRETCHED, device=pose.device)

    def joint_loss() -> Tensor:  # (N, 24) px^2
        joints = _joints(body, torch.cat([orient, body_pose], 1), betas)
        squares = _distance(joints, camera, keypoints).square()
        return weight * (SIGMA**2 * squares / (SIGMA**2 + squares)).sum(-1)

    def objective() -> Tensor:
        angles = (body_pose[:, HINGES] * overstretched).exp().square().sum()
        priors = POSE * prior.energy(body_pose).sum() + ANGLE * angles + SHAPE * betas.square().sum()
        return joint_loss().sum() + priors

    _descend(objective, (orient, body_pose, betas), steps)
    with torch.no_grad():
        pose, known = torch.cat([orient, body_pose], 1), weight.sum(1)
        loss = torch.where(known > 0, joint_loss().sum(1) / known, torch.inf)
    return Fit(pose, betas, camera, loss, reprojection(body, pose, betas, camera, keypoints))


@torch.no_grad()
def reprojection(body: BodyModel, pose: Tensor, betas: Tensor, camera: Tensor, keypoints: Tensor) -> Tensor:
    """(N,) px: the mean distance of the known keypoints from the projected joints, NaN where none is known."""
    known = keypoints[..., 2] > 0
    distance = _distance(_joints(body, pose, betas), camera, keypoints).norm(dim=-1)
    return (distance * known).sum(1) / known.sum(1)


class BestFits:
    """The best fit so far of each of M people, on the CPU: what a network is trained towards, and part of a checkpoint.

    The bodies of all fits of a person must be those of the same view, so a fit in a turned or mirrored crop is turned
    and mirrored back before it comes here.
    """

    def __init__(self, count: int) -> None:
        """count: M."""
        self.rotations = torch.eye(3).repeat(count, 24, 1, 1)
        self.betas = torch.zeros(count, 10)
        self.loss = torch.full((count,), torch.inf)

    def update(self, rows: np.ndarray, rotations: Tensor, betas: Tensor, loss: Tensor) -> None:
        """Keep the fits that are better than what is stored. rows (N,) int: which people these are, each at most once;
        rotations (N, 24, 3, 3), betas (N, 10), loss (N,) px^2, on any device."""
        picked, loss = torch.from_numpy(rows), loss.detach().cpu()
        better = loss < self.loss[picked]
        picked = picked[better]
        self.rotations[picked] = rotations.detach().cpu()[better]
        self.betas[picked] = betas.detach().cpu()[better]
        self.loss[picked] = loss[better]

    def targets(self, rows: np.ndarray, threshold: float = GOOD) -> tuple[Tensor, Tensor, Tensor]:
        """rows (N,) int -> rotations (N, 24, 3, 3); betas (N, 10), all 0 for a person of whom one is EXTREME; usable
        (N,) bool: whether the joint loss of the person's fit is below the threshold, px^2."""
        picked = torch.from_numpy(rows)
        betas = self.betas[picked]
        extreme = (betas.abs() > EXTREME).any(1, keepdim=True)
        return self.rotations[picked], betas.masked_fill(extreme, 0), self.loss[picked] < threshold

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint stores."""
        return {"rotations": self.rotations, "betas": self.betas, "loss": self.loss}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned. ValueError where it is of another number of people."""
        if len(state["loss"]) != len(self.loss):
            raise ValueError(f"it holds fits of {len(state['loss'])} people, not of {len(self.loss)}")
        self.rotations, self.betas, self.loss = (state[name].clone() for name in ("rotations", "betas", "loss"))


def _placed(
    body: BodyModel, pose: Tensor, betas: Tensor, camera: Tensor, keypoints: Tensor, weight: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """The first stage -> camera (N, 3) and global orientation (N, 3). weight (N, 24): of each joint.

    The body is posed once: a global orientation turns it as a whole about the pelvis.
    """
    with torch.no_grad():
        lying = torch.cat([torch.zeros_like(pose[:, :3]), pose[:, 3:]], 1)
        whole = body.joints54(_matrices(lying), betas)
        pelvis = whole[:, :1]
        limbs = spin49(whole)[:, J24_PART] - pelvis
        torso = torch.zeros_like(weight)
        torso[:, TORSO] = weight[:, TORSO]
        weight = torch.where((torso > 0).sum(1, keepdim=True) >= FEWEST, torso, weight)
        scale, shift = camera.split([1, 2], 1)
        orient, shift, growth = pose[:, :3].clone(), shift.clone(), torch.zeros_like(scale)

    def moved() -> Tensor:
        return torch.cat([scale.detach() * growth.exp(), shift], 1)

    def objective() -> Tensor:
        joints = limbs @ axis_angle_to_matrix(orient).mT + pelvis
        squares = _distance(joints, moved(), keypoints).square().sum(-1)
        return (weight * squares).sum() + SCALE * growth.square().sum()

    _descend(objective, (orient, shift, growth), steps)
    return moved(), orient


def _descend(objective: Callable[[], Tensor], variables: Sequence[Tensor], steps: int) -> None:
    """Change the variables in place, by steps of Adam down the objective. Nothing else gets a gradient: parameters of
    a network that is training must not."""
    optimizer = torch.optim.Adam(variables, RATE)
    with torch.enable_grad():
        for variable in variables:
            variable.requires_grad_()
        for _ in range(steps):
            for variable, gradient in zip(variables, torch.autograd.grad(objective(), variables), strict=True):
                variable.grad = gradient
            optimizer.step()
    for variable in variables:
        variable.requires_grad_(False)


def _matrices(pose: Tensor) -> Tensor:
    return axis_angle_to_matrix(pose.view(-1, 24, 3))


def _joints(body: BodyModel, pose: Tensor, betas: Tensor) -> Tensor:
    """(N, 24, 3) m, in the order J24."""
    return spin49(body.joints54(_matrices(pose), betas))[:, J24_PART]


def _distance(joints: Tensor, camera: Tensor, keypoints: Tensor) -> Tensor:
    """(N, 24, 2) px: from each keypoint to its projected joint."""
    return (project_on_crop(joints, camera) - keypoints[..., :2]) * (CROP / 2)

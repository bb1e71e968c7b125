"""SPIN's loss of an estimator (Kolotouros et al. 2019), on images with 2D keypoints alone and on images with bodies.

Shapes: B images; rotations (B, 24, 3, 3) in the camera frame, the root's first; betas (B, 10); camera (B, 3) =
(s, tx, ty), see `geometry.camera`; keypoints (B, 49, 3) in SPIN-49 order: x and y in crop coordinates, -1 ... 1 from
edge to edge, and a weight, 0 = not supervised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.joints import J24, J24_PART, picks

# The weight of each term. SPIN multiplies the sum of all by TIMES; its loss of vertices has the weight 0.
WEIGHTS = {"2d": 5.0, "3d": 5.0, "pose": 1.0, "betas": 0.001, "camera": 1.0}
TIMES = 60.0
HIPS = list(picks(("right_hip_lsp", "left_hip_lsp"), J24))  # their middle is the pelvis that 3D keypoints start from


def spin_losses(
    estimate: tuple[Tensor, Tensor, Tensor], body: BodyModel, batch: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The weighted terms of SPIN's loss, to be summed. estimate: rotations, betas and camera of the B images.

    batch: `keypoints`; `rotations` and `betas`, the bodies of the images that have one; `weight2d` and `weight3d` (B,),
    what each image counts in the terms of keypoints and of bodies: 1 / R for one of R real images, so that a term is
    the mean over them, and 0 for an image that a term leaves out; `real` (B,), 1 for a real image and 0 for one of a
    pair. `2d real` is L2D of the paper, and the terms from `2d` to `betas` are its L3D.
    """
    rotations, betas, camera = estimate
    weight2d, weight3d, real = batch["weight2d"], batch["weight3d"], batch["real"]
    joints = spin49(body.joints54(rotations, betas))
    with torch.no_grad():
        true_joints = spin49(body.joints54(batch["rotations"], batch["betas"]))
    seen, keypoints = project_on_crop(joints, camera), batch["keypoints"]
    # SPIN takes the mean over all 49 joints, although OpenPose's 25 have the weight 0.
    error2d = ((seen - keypoints[..., :2]).square() * keypoints[..., 2:]).mean((1, 2))
    error3d = (_from_pelvis(joints) - _from_pelvis(true_joints)).square().mean((1, 2))
    pose = (rotations - batch["rotations"]).square().mean((1, 2, 3))
    shape = (betas - batch["betas"]).square().mean(1)
    terms = {
        "2d real": WEIGHTS["2d"] * (error2d * weight2d * real).sum(),
        "2d": WEIGHTS["2d"] * (error2d * weight2d * (1 - real)).sum(),
        "3d": WEIGHTS["3d"] * (error3d * weight3d).sum(),
        "pose": WEIGHTS["pose"] * (pose * weight3d).sum(),
        "betas": WEIGHTS["betas"] * (shape * weight3d).sum(),
        "camera": WEIGHTS["camera"] * (-10 * camera[:, 0]).exp().square().mean(),  # keeps bodies in front of it
    }
    return {name: TIMES * term for name, term in terms.items()}


def _from_pelvis(joints: Tensor) -> Tensor:
    """(B, 49, 3) -> (B, 24, 3): the J24 part from the middle of its hips."""
    part = joints[:, J24_PART]
    return part - part[:, HIPS].mean(1, keepdim=True)

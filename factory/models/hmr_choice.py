"""Which estimator of bodies a job names: `spin`, `bev`, or one that another package brings.

A package brings one by an entry point, `hmr2 = "my_package:load"` under [project.entry-points."factory.hmr"]; the job
then says `hmr: {kind: hmr2, model: PATH}`. All of such a package, for a network that takes crops:

    import torch
    from factory.models.hmr import CropHMR
    from my_package.network import Network

    def load(model: str, device: torch.device, crop_scale: float) -> CropHMR:
        network = Network()
        network.load_state_dict(torch.load(model, weights_only=True))
        network.eval().to(device)

        def predict(crops: torch.Tensor):  # (N, 3, 256, 256) ImageNet-normalised RGB, on the device
            out = network(crops)
            rotations = torch.cat([out.global_orient, out.body_pose], 1)  # (N, 24, 3, 3), upright = pi about x
            return rotations, out.betas, out.camera  # (N, 10); (N, 3) = s, tx, ty of SPIN's camera

        return CropHMR(predict, 256, device, crop_scale)

A network that looks at whole images returns a `HMR` of its own instead. tests/models/test_hmr_choice.py runs such a
package.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
import torch

from factory.errors import UserError

GROUP = "factory.hmr"
Body = dict[str, np.ndarray]


class HMR(Protocol):
    """finds: it looks for people itself, so that boxes may be None."""

    finds: bool

    def estimate(self, images: list[np.ndarray], boxes: list[np.ndarray] | None) -> list[list[Body]]:
        """images: (H, W, 3) uint8 RGB each; boxes: (n, 4) x0, y0, x1, y1 px each, or where the job has them (n, 49, 3)
        keypoints of known people -> per image, per box (or per person found, best first), float32: global_orient (3,),
        body_pose (69,) axis-angle; betas (10,); crop (3,) = centre x, y, side px; camera (3,) = s, tx, ty on that crop.
        Optional: K (3, 3) px of the whole image, for an estimator with a camera of its own (default: SPIN's; all people
        of an image have one); score () of one found. `answers.estimates` checks all this: a NaN, another shape or type
        fails the record with that reason. Raise ValueError where there are boxes and nobody is found.
        """


def load_hmr(
    kind: str, model: str, device: str | torch.device = "cpu", crop_scale: float = 1.2, body: str = "starter:body"
) -> HMR:
    """body: the job's body model, which bev needs. UserError for an unknown kind or bad weights."""
    device = torch.device(device)
    if kind == "spin":
        from factory.models import hmr

        return hmr.HMR(model, device, crop_scale)
    if kind == "bev":
        from factory.models.bev import BEV

        return BEV(model, device, body)
    for entry in entry_points(group=GROUP, name=kind):
        return entry.load()(model, device, crop_scale)
    raise UserError(f"stages.estimate.hmr.kind: no {kind}; there are {', '.join(kinds())} (more by packages, {GROUP})")


def kinds() -> list[str]:
    """All that `load_hmr` takes here."""
    return ["spin", "bev", *sorted(entry_points(group=GROUP).names)]

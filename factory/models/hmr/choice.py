"""The estimators of bodies that a job can name: `spin`, `bev`, and those that other packages bring.

A package brings one by an entry point, `hmr2 = "my_package:load"` under [project.entry-points."factory.hmr"]; the job
then says `hmr: {kind: hmr2, model: PATH}`. All of such a package, for a network that takes crops:

    import torch
    from factory.models.hmr.crop import CropHMR
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

A package whose network looks at whole images returns a `base.BodyEstimator` of its own instead, whose `estimate`
returns a `base.BodyEstimate` for each image. tests/models/hmr/test_choice.py runs such packages.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import torch

from factory.errors import UserError
from factory.geometry.crops import LOOSE
from factory.models.hmr.base import BodyEstimator

GROUP = "factory.hmr"


def load_hmr(
    kind: str, model: str, device: str | torch.device = "cpu", crop_scale: float = LOOSE, body: str = "starter:body"
) -> BodyEstimator:
    """The estimator of this kind with the weights `model`. body: the job's body model, which bev needs. UserError
    for an unknown kind or bad weights."""
    device = torch.device(device)
    if kind == "spin":
        from factory.models.hmr.spin import load_spin

        return load_spin(model, device, crop_scale)
    if kind == "bev":
        from factory.models.hmr.bev import BEV

        return BEV(model, device, body)
    for entry in entry_points(group=GROUP, name=kind):
        return entry.load()(model, device, crop_scale)
    raise UserError(f"stages.estimate.hmr.kind: no {kind}; there are {', '.join(kinds())} (more by packages, {GROUP})")


def kinds() -> list[str]:
    """All kinds that `load_hmr` takes with the packages installed here."""
    return ["spin", "bev", *sorted(entry_points(group=GROUP).names)]

"""BEV (Sun et al. 2022) by PyPI's simple_romp: all people of an image at once, with their distances.

Only its network is used, and only the modules that hold it are imported. `import bev` or `import romp` would run
bev/main.py and romp/main.py, which at once download weights into the home folder, after a `pip install wget`, and want
SMPL-A's and SMIL's files, which users rarely have. Of the network's answer only pose, shape and camera are used: they
pose the job's own body. So the eleventh shape number, how childlike a body is, has no effect here.
"""

from __future__ import annotations

import contextlib
import io
import sys
from importlib.util import find_spec, module_from_spec
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from factory.errors import UserError
from factory.geometry.body import BodyModel
from factory.geometry.camera import project, transl_to_weak
from factory.geometry.joints import JOINTS54
from factory.geometry.rotations import matrix_to_axis_angle, sixd_to_matrix
from factory.home import at_home
from factory.models.bad_answer import BadAnswer
from factory.models.hmr.base import BodyEstimate
from factory.weights import catalogue
from factory.weights.pickles import load_checkpoint, require_finite

INPUT = 512  # px: the side of the network's input
INPUT_FOCAL = INPUT / 2 / np.tan(np.radians(60 / 2))  # px: its camera sees 60 degrees
CONFIDENCE = 0.08  # the least of a person's centre, as in bev's command, whose `crowd` setting is on by default
SAME = 0.1  # two estimates are of one person where the mean distance of their joints is below this share of its size
HIPS = [JOINTS54.index(name) for name in ("right_hip_lsp", "left_hip_lsp")]  # BEV's translation places their middle
GET = f"get {catalogue.BEV.origin}"


class BEV:
    """Finds and estimates all people of an image. A `base.BodyEstimator`."""

    finds = True

    def __init__(self, model: str, device: torch.device, body: str) -> None:
        """model: BEV.pth; body: the job's body model. UserError without the package or for bad weights."""
        self.device, self.body = device, BodyModel(body, device)
        path = at_home(model)
        if not path.is_file():
            raise UserError(f"HMR model not found: {model}; {GET}")
        with contextlib.redirect_stdout(io.StringIO()):  # the network prints its name
            self.network = _network(CONFIDENCE)
        stored = load_checkpoint(path, "HMR model")
        if not isinstance(stored, dict) or not any(isinstance(value, Tensor) for value in stored.values()):
            raise UserError(f"HMR model {model} is no mapping of names to tensors; is it BEV's? {GET}")
        state = {str(name).removeprefix("module."): value for name, value in stored.items()}
        wanted = self.network.state_dict()
        missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
        other = [name for name in wanted if name in state and _shape(state[name]) != wanted[name].shape]
        if missing or other:
            words = f"lacks {len(missing)} parameters, first {missing[0]}" if missing else f"has another {other[0]}"
            raise UserError(f"HMR model {model} {words}; is it BEV's? {GET}")
        weights = {name: state[name] for name in wanted if name in state}
        require_finite(weights, f"HMR model {model}")
        self.network.load_state_dict(weights, strict=False)
        self.network.eval().to(device)

    @torch.no_grad()
    def estimate(self, images: list[np.ndarray], boxes: list[np.ndarray] | None) -> list[BodyEstimate]:
        """See `base.BodyEstimator`. For each box the body is returned whose centre is nearest to the box's.

        ValueError where there are boxes and nobody is found.
        """
        estimates = [self._people(image) for image in images]
        if boxes is None:
            return estimates
        return [everybody[_nearest(everybody, some)] for everybody, some in zip(estimates, boxes, strict=True)]

    def _people(self, image: np.ndarray) -> BodyEstimate:
        """Everybody in the image, best first, in BEV's own camera."""
        height, width = image.shape[:2]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        padded = np.zeros((side, side, 3), np.uint8)
        padded[top : top + height, left : left + width] = image
        resized = np.asarray(Image.fromarray(padded).resize((INPUT, INPUT), Image.Resampling.BICUBIC))
        with contextlib.redirect_stdout(io.StringIO()):  # the network prints when it finds nobody
            out = self.network(torch.from_numpy(resized.copy())[None].float().to(self.device))
        if out is None:
            return BodyEstimate.nobody()
        if not torch.isfinite(out["params_pred"]).all():  # else those people would be dropped as behind the camera
            raise BadAnswer("bev's network gives what is not finite (NaN or infinity)")
        camera, sixd, betas = out["params_pred"].split([3, 22 * 6, 11], 1)
        pose = matrix_to_axis_angle(sixd_to_matrix(sixd.view(-1, 22, 6))).flatten(1)
        orient, body_pose = pose[:, :3], torch.cat([pose[:, 3:], pose.new_zeros(len(pose), 6)], 1)  # no hands
        betas = betas[:, :10].contiguous()
        still = torch.zeros_like(orient)
        joints = self.body(orient, body_pose, betas, still)[1]
        pelvis = joints[:, HIPS].mean(1)
        transl = _translation(camera) - pelvis
        focal = INPUT_FOCAL * side / INPUT
        K = torch.tensor(
            [[focal, 0, side / 2 - left], [0, focal, side / 2 - top], [0, 0, 1]],
            dtype=torch.float32,
            device=self.device,
        )
        crop = torch.tensor([[width / 2, height / 2, side]], dtype=torch.float32, device=self.device)
        weak = transl_to_weak(transl, crop.expand(len(transl), 3), K)
        score = out["center_confs"].flatten().float()
        pixels = project(joints + transl[:, None], K)
        in_front = (joints[..., 2] + transl[:, None, 2]).amin(1) > 0
        # Picked before they are checked: people behind the camera may have a weak camera that is not finite.
        kept = _distinct(pixels, score, in_front)

        def on_cpu(values: Tensor) -> np.ndarray:
            return values[kept].float().cpu().numpy()

        return BodyEstimate(
            global_orient=on_cpu(orient),
            body_pose=on_cpu(body_pose),
            betas=on_cpu(betas),
            camera=on_cpu(weak),
            crop=on_cpu(crop.expand(len(transl), 3)),
            K=K.cpu().numpy(),
            score=on_cpu(score),
        )


def _network(confidence: float) -> Any:
    try:
        for package in ("romp", "bev"):
            _without_init(package)
        from bev.model import BEVv1
    except ImportError as error:
        raise UserError(f"HMR kind bev needs simple_romp ({error}): {catalogue.SIMPLE_ROMP.install}") from error
    return BEVv1(center_thresh=confidence)


def _without_init(package: str) -> None:
    """Makes the package known to Python as imported without running its `__init__`, so that its modules can be imported
    by name. It stays so: modules that import each other later would otherwise run the `__init__` after all."""
    if package in sys.modules:
        return
    spec = find_spec(package)  # this imports nothing
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}")
    sys.modules[package] = module_from_spec(spec)


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, Tensor) else None


def _translation(camera: Tensor) -> Tensor:
    """camera (N, 3): BEV's scale, y, x -> (N, 3) m: the pelvis in BEV's camera of 60 degrees."""
    tangent = INPUT / 2 / INPUT_FOCAL
    depth = 1 / (camera[:, :1] * tangent + 1e-3)
    return torch.cat([camera[:, [2, 1]] * depth * tangent, depth], 1)


def _distinct(pixels: Tensor, score: Tensor, in_front: Tensor) -> list[int]:
    """The numbers of the people in front of the camera, best first, each person once.

    pixels (N, J, 2): their joints; score (N,); in_front (N,) bool.
    """
    kept: list[int] = []
    for i in score.argsort(descending=True).tolist():
        size = (pixels[i].amax(0) - pixels[i].amin(0)).max()
        apart = all((pixels[i] - pixels[j]).norm(dim=-1).mean() > SAME * size for j in kept)
        if apart and in_front[i]:
            kept.append(i)
    return kept


def _nearest(people: BodyEstimate, boxes: np.ndarray) -> list[int]:
    """The number of the person nearest to each box (n, 4) px: by the point where its weak camera puts its origin."""
    if len(boxes) and not len(people):
        raise ValueError("BEV finds nobody in the image")
    centres = people.crop[:, :2] + people.crop[:, 2:] / 2 * people.camera[:, :1] * people.camera[:, 1:]
    goals = (boxes[:, :2] + boxes[:, 2:]) / 2
    return [int(np.linalg.norm(centres - goal, axis=1).argmin()) for goal in goals]

"""The body: any model in SMPL's file format (.npz or the official .pkl), posed by `smplx`."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from factory.geometry.joints import JOINT54_OF_SPIN49
from factory.home import at_home
from factory.weights import smpl_file
from factory.weights.locate import resolve


class BodyModel:
    """Pose and shape in, vertices and joints out. `faces` (13776, 3) int64, anticlockwise seen from outside."""

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        """path: SMPL_NEUTRAL, _MALE or _FEMALE as .npz or .pkl, or starter:body. UserError as `smpl_file.read`."""
        import smplx

        data = smpl_file.read(at_home(resolve(path)))
        extra = data.pop(smpl_file.EXTRA)
        absent = dict.fromkeys(("create_global_orient", "create_body_pose", "create_betas", "create_transl"), False)
        with contextlib.redirect_stdout(io.StringIO()):  # smplx prints that 10 betas are few
            # A data_struct, because smplx opens a path with pickle.
            self.smpl = smplx.SMPL("", data_struct=smplx.utils.Struct(**data), **absent).to(device)
        self.extra = torch.from_numpy(extra).to(device)
        self.faces = self.smpl.faces_tensor
        self.device = torch.device(device)
        # For `skeleton`: the joints at rest, (24, 3) m; how betas move them, (24, 3, 10) m; each joint's parent, (24,),
        # on the CPU, because smplx reads them one by one as Python integers and would wait for a GPU at each.
        self._joints = self.smpl.J_regressor @ self.smpl.v_template
        self._joint_directions = torch.einsum("jv,vcs->jcs", self.smpl.J_regressor, self.smpl.shapedirs)
        self._parents = self.smpl.parents.cpu()
        # For `joints54`: the W vertices that joints are made of, and how: (30, W), LANDMARKS, then EXTRA9.
        landmarks = one_hot(self.smpl.vertex_joint_selector.extra_joints_idxs, len(self.smpl.v_template))
        regressor = torch.cat([landmarks.to(self.extra), self.extra])
        rows = regressor.any(0).nonzero()[:, 0]
        self._regressor, self._weights = regressor[:, rows], self.smpl.lbs_weights[rows]
        self._points, self._point_directions = self.smpl.v_template[rows], self.smpl.shapedirs[rows]
        self._correctives = self.smpl.posedirs.view(-1, len(self.smpl.v_template), 3)[:, rows].flatten(1)

    def forward(self, global_orient: Tensor, body_pose: Tensor, betas: Tensor, transl: Tensor) -> tuple[Tensor, Tensor]:
        """global_orient (N, 3), body_pose (N, 69) axis-angle, or (N, 1, 3, 3), (N, 23, 3, 3) matrices; betas (N, 10);
        transl (N, 3) m -> vertices (N, 6890, 3), joints (N, 54, 3) m: smplx's 45, then the 9 of the extra regressor.

        In a camera frame (y down) an upright body has a global_orient near pi about x, as SPIN's. Differentiable.
        """
        pose2rot = global_orient.ndim == 2
        out = self.smpl(global_orient=global_orient, body_pose=body_pose, betas=betas, pose2rot=pose2rot)
        joints = torch.cat([out.joints, torch.einsum("jv,nvc->njc", self.extra, out.vertices)], 1)
        return out.vertices + transl[:, None], joints + transl[:, None]

    __call__ = forward

    def skeleton(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """rotations (N, 24, 3, 3), the root's first; betas (N, 10) -> (N, 24, 3) m: SMPL's own joints, not translated.

        They are the first 24 of `forward`'s joints. No vertex is posed, which makes this a thousand times cheaper.
        Differentiable.
        """
        from smplx.lbs import batch_rigid_transform

        rest = self._joints + torch.einsum("jcs,ns->njc", self._joint_directions, betas)
        return batch_rigid_transform(rotations, rest, self._parents)[0]

    def joints54(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """rotations (N, 24, 3, 3), the root's first; betas (N, 10) -> (N, 54, 3) m: `forward`'s joints, not translated.

        Only the vertices that joints are made of are posed, about 150, which makes this a hundred times cheaper.
        Differentiable.
        """
        from smplx.lbs import batch_rigid_transform

        rest = self._joints + torch.einsum("jcs,ns->njc", self._joint_directions, betas)
        joints, moves = batch_rigid_transform(rotations, rest, self._parents)
        bends = (rotations[:, 1:] - torch.eye(3, device=rotations.device)).flatten(1)
        points = self._points + torch.einsum("vcs,ns->nvc", self._point_directions, betas)
        points = points + (bends @ self._correctives).view(points.shape)
        moves = (self._weights @ moves.flatten(2)).unflatten(2, (4, 4))
        points = (moves[..., :3, :3] @ points[..., None])[..., 0] + moves[..., :3, 3]
        return torch.cat([joints, self._regressor @ points], 1)


def spin49(joints54: Tensor) -> Tensor:
    """(N, 54, 3) of `BodyModel` -> (N, 49, 3) in SPIN-49 order."""
    return joints54[:, JOINT54_OF_SPIN49]

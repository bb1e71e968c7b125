"""The body model that estimates and labels are posed with, and the joints that are measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from factory.errors import UserError
from factory.geometry.body import BodyModel, spin49
from factory.geometry.joints import J24_PART
from factory.home import at_home
from factory.labelled.base import OPEN_BODY, STARTER_BODY, LabelledPeople
from factory.labelled.skeletons import RootedJoints, body_joints, regressed_joints
from factory.weights.catalogue import H36M_REGRESSOR
from factory.weights.locate import resolve
from factory.weights.smpl_file import h36m_regressor

GENDERED = {"m": "MALE", "f": "FEMALE"}  # gender -> how SMPL's file is called
NEUTRAL = "NEUTRAL"


@dataclass(frozen=True)
class PosedBodies:
    """N bodies, float64, in metres. joints: Human3.6M's, from their root; vertices (N, V, 3): from the same root;
    spin49 (N, 49, 3): SPIN-49, as they were posed, which is about the body model's origin."""

    joints: RootedJoints
    vertices: np.ndarray
    spin49: np.ndarray


class MeasuredBody:
    """One body model as it is measured. name: of the file, for messages; about: which joints are measured, in a line;
    notes: what weakens that. UserError as `BodyModel`, and for a damaged regressor."""

    def __init__(self, name: str, device: str | torch.device = "cpu") -> None:
        self.name, self.device = name, torch.device(device)
        path = at_home(resolve(name))
        self.neutral = BodyModel(name, device)
        self.regressor = None if self.is_open else h36m_regressor(path)
        self.gendered = {} if self.is_open else self._gendered(path)
        self.notes: list[str] = []
        if self.regressor is not None:
            self.about = f"joints: {H36M_REGRESSOR.published} of the mesh, {len(self.regressor)} rows"
        else:
            own = "the open body's own joints" if self.is_open else "the body's own joints, by SPIN's extra regressor"
            self.about = f"joints: {own}; no {H36M_REGRESSOR.published}, so published figures do not compare"
            if not self.is_open:
                self.notes.append(f"{H36M_REGRESSOR.published} is not beside {name}; get {H36M_REGRESSOR.origin}")

    @property
    def is_open(self) -> bool:
        """Whether it is the starter pack's body."""
        return self.name == STARTER_BODY

    def require_betas_of(self, people: LabelledPeople) -> None:
        """UserError where the labels belong to another body model."""
        if people.pose is None or people.body is None:
            return
        if (people.body == OPEN_BODY) != self.is_open:
            name = STARTER_BODY if people.body == OPEN_BODY else f"the file of {people.body}"
            raise UserError(
                f"{people.name}: its bodies are of {people.body}, not of {self.name}, and shapes of one model mean "
                f"nothing in another; give --body {name} and an estimator of it"
            )

    def pose(self, pose: np.ndarray, betas: np.ndarray, gender: tuple[str, ...] | None = None) -> PosedBodies:
        """pose (N, 72) rad and betas (N, 10), of the neutral body or of that of each gender."""
        vertices, joints = self._forward(self.neutral, pose, betas)
        for letter, model in self.gendered.items() if gender else ():
            rows = np.flatnonzero(np.array(gender) == letter)
            if len(rows):
                vertices[rows], joints[rows] = self._forward(model, pose[rows], betas[rows])
        if self.regressor is None:
            measured = body_joints(joints[:, J24_PART])
        else:
            measured = regressed_joints(vertices, self.regressor)
        return PosedBodies(measured, vertices - measured.root, joints)

    def _forward(self, model: BodyModel, pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)

        with torch.inference_mode():
            turns = tensor(pose)
            vertices, joints = model(turns[:, :3], turns[:, 3:], tensor(betas), torch.zeros_like(turns[:, :3]))
            return vertices.double().cpu().numpy(), spin49(joints).double().cpu().numpy()

    def _gendered(self, path: Path) -> dict[str, BodyModel]:
        """SMPL's male and female bodies, where they lie beside its neutral one."""
        found = {}
        for letter, word in GENDERED.items():
            other = path.with_name(path.name.replace(NEUTRAL, word))
            if other != path and other.is_file():
                found[letter] = BodyModel(other, self.device)
        return found

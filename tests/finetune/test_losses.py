"""SPIN's loss, term by term."""

from __future__ import annotations

import math

import pytest
import torch

from factory.finetune.losses import TIMES, spin_losses
from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.rotations import axis_angle_to_matrix


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel("starter:body")


def batch_of(body: BodyModel, rotations, betas, camera) -> dict:
    points = project_on_crop(spin49(body.joints54(rotations, betas)), camera)
    weight = torch.ones(len(points), 49, 1)
    weight[:, :25] = 0
    each = torch.full((len(points),), 1 / len(points))
    keypoints = torch.cat([points, weight], -1)
    return {
        "keypoints": keypoints, "rotations": rotations, "betas": betas,
        "weight2d": each, "weight3d": each, "real": torch.zeros(len(points)),
    }  # fmt: skip


@pytest.fixture
def truth():
    random = torch.Generator().manual_seed(0)
    pose = 0.3 * torch.randn(3, 24, 3, generator=random)
    return axis_angle_to_matrix(pose), torch.randn(3, 10, generator=random), torch.tensor([[0.9, 0.1, 0.2]] * 3)


def test_the_truth_costs_nothing_but_the_camera(body, truth):
    losses = spin_losses(truth, body, batch_of(body, *truth))
    assert losses.pop("camera") == pytest.approx(TIMES * math.exp(-10 * 0.9) ** 2, rel=1e-4)
    assert all(float(term) == pytest.approx(0, abs=1e-6) for term in losses.values())


def test_each_term_has_spins_weight(body, truth):
    rotations, betas, camera = truth
    batch = batch_of(body, *truth)
    other = (rotations.roll(1, 0), betas + 2, camera * torch.tensor([1.1, 1, 1]))
    losses = spin_losses(other, body, batch)
    assert losses["pose"] == pytest.approx(60 * (other[0] - rotations).square().mean().item(), rel=1e-4)
    assert losses["betas"] == pytest.approx(60 * 0.001 * 4, rel=1e-4)
    joints, true = (spin49(body.joints54(*values))[:, 25:] for values in (other[:2], (rotations, betas)))
    joints, true = (values - values[:, 2:4].mean(1, keepdim=True) for values in (joints, true))
    assert losses["3d"] == pytest.approx(60 * 5 * (joints - true).square().mean().item(), rel=1e-4)
    seen = project_on_crop(spin49(body.joints54(*other[:2])), other[2])
    error = (batch["keypoints"][..., 2:] * (seen - batch["keypoints"][..., :2]).square()).mean()
    assert losses["2d"] == pytest.approx(60 * 5 * error.item(), rel=1e-4)
    assert losses["2d real"] == 0


def test_an_image_without_a_body_counts_by_its_keypoints_alone(body, truth):
    rotations, betas, camera = truth
    batch = batch_of(body, *truth)
    batch["weight3d"] = torch.tensor([0.0, 1.0, 0.0])
    batch["real"] = torch.tensor([1.0, 0.0, 1.0])
    wrong = rotations.clone()
    wrong[[0, 2]] = rotations[[2, 0]]
    losses = spin_losses((wrong, betas, camera), body, batch)
    assert losses["pose"] == losses["3d"] == losses["2d"] == 0 and losses["2d real"] > 0
    batch["keypoints"][..., 2] = 0
    assert spin_losses((wrong, betas, camera), body, batch)["2d real"] == 0

"""The losses and the augmentation that trainings share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from factory.geometry.body import BodyModel
from factory.geometry.camera import project_on_crop
from factory.geometry.rotations import axis_angle_to_matrix
from factory.training.augment import cut_turned, degrade, erase
from factory.training.body_losses import body_losses, map_loss
from factory.training.diffusion_loss import GAMMA, add_noise
from factory.training.randomness import step_rng
from factory.training.schedule import learning_rate


@pytest.fixture(scope="module")
def body() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Three bodies that face the camera, their joints, and a camera in which they fill the crop."""
    generator = torch.Generator().manual_seed(0)
    turns = 0.3 * torch.randn(3, 24, 3, generator=generator)
    turns[:, 0] = torch.tensor([np.pi, 0, 0])
    rotations, betas = axis_angle_to_matrix(turns), torch.randn(3, 10, generator=generator)
    joints = BodyModel("starter:body").skeleton(rotations, betas)
    camera = torch.tensor([[0.9, 0.1, 0.2]]).repeat(3, 1)
    return {"rotations": rotations, "betas": betas, "joints2d": project_on_crop(joints, camera)}, joints, camera


def test_the_true_body_costs_nothing_and_another_one_something(body):
    truth, joints, camera = body
    terms = body_losses((truth["rotations"], truth["betas"], camera), joints, truth, joints)
    guard = terms.pop("camera")
    assert all(value == 0 for value in terms.values()) and guard < 1e-3
    moved = body_losses((truth["rotations"], truth["betas"] + 1, camera + 0.1), joints + joints.flip(1), truth, joints)
    assert all(moved[name] > 0 for name in ("betas", "joints3d", "joints2d"))
    behind = body_losses((truth["rotations"], truth["betas"], -camera), joints, truth, joints)
    assert behind["camera"] > 1000 * guard


def test_a_joint_far_outside_the_crop_is_no_evidence(body):
    truth, joints, camera = body
    outside = {**truth, "joints2d": truth["joints2d"] + torch.tensor([5.0, 0])}
    assert body_losses((truth["rotations"], truth["betas"], camera), joints, outside, joints)["joints2d"] == 0


def test_a_map_costs_least_where_its_joint_is():
    joints2d, visible = torch.zeros(1, 24, 2) + 0.25, torch.ones(1, 24, dtype=torch.bool)
    maps = torch.zeros(1, 24, 16, 16)
    right, wrong = maps.clone(), maps.clone()
    right[:, :, 10, 10], wrong[:, :, 2, 2] = 5, 5
    assert map_loss(right, joints2d, visible) < map_loss(maps, joints2d, visible) < map_loss(wrong, joints2d, visible)
    assert map_loss(wrong, joints2d, ~visible) == 0


def test_the_predicted_velocity_gives_back_the_clean_latents():
    clean = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    alphas = torch.linspace(0.999, 0, 1000)
    noisy = add_noise(clean, alphas, step_rng(0, 0))
    alpha = alphas[noisy.time][:, None, None, None]
    torch.testing.assert_close(alpha.sqrt() * noisy.latents - (1 - alpha).sqrt() * noisy.target, clean)
    assert noisy.weight.min() > 0 and noisy.weight.max() <= GAMMA
    again = add_noise(clean, alphas, step_rng(0, 0))
    assert torch.equal(again.latents, noisy.latents) and not torch.equal(
        add_noise(clean, alphas, step_rng(0, 1)).latents, noisy.latents
    )


def test_an_error_of_the_clean_latents_costs_the_same_whatever_is_predicted():
    clean = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    alphas, wrong = torch.linspace(0.999, 0.01, 1000), clean + 0.1
    costs = []
    for prediction in ("sample", "epsilon", "v_prediction"):
        noisy = add_noise(clean, alphas, step_rng(0, 0), prediction)
        alpha = alphas[noisy.time][:, None, None, None]
        noise = (noisy.latents - alpha.sqrt() * wrong) / (1 - alpha).sqrt()  # that a model would see if it believed so
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * wrong
        predicted = {"sample": wrong, "epsilon": noise, "v_prediction": velocity}[prediction]
        costs.append((noisy.weight * (predicted - noisy.target).square()).mean((1, 2, 3)))
    torch.testing.assert_close(costs[1], costs[0], rtol=1e-3, atol=0)
    torch.testing.assert_close(costs[2], costs[0], rtol=1e-3, atol=0)


def test_the_rate_warms_up_and_ends_near_nothing():
    rates = [learning_rate(1.0, step, step / 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 200) and max(rates) > 0.85 and rates[-1] < 0.03
    assert rates[:200] == sorted(rates[:200]) and rates[250:] == sorted(rates[250:], reverse=True)


def test_degrade_keeps_range_and_is_repeatable():
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first, second = (degrade(images.clone(), step_rng(1, 2)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.min() >= 0 and first.max() <= 1
    assert not torch.equal(first, degrade(images.clone(), step_rng(1, 3)))


def test_a_cut_is_the_crop_and_its_mirror_image():
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    crop, angle = torch.tensor([[32.0, 24, 16]]), torch.zeros(1)
    plain = cut_turned(image, crop, angle, torch.ones(1), 16)
    torch.testing.assert_close(plain, image[:, :, 16:32, 24:40])
    torch.testing.assert_close(cut_turned(image, crop, angle, -torch.ones(1), 16), plain.flip(3))


def test_an_erased_rectangle_has_one_colour():
    images = torch.zeros(8, 3, 32, 32) - 1  # a colour that no rectangle has
    erased = erase(images, np.random.default_rng(0), share=1.0)
    for image in erased:
        covered = image[:, image[0] >= 0]
        assert covered.shape[1] >= 16 and (covered == covered[:, :1]).all()
    assert torch.equal(erase(images, np.random.default_rng(0), share=0.0), images)

"""Fits of bodies to keypoints, from starts that are wrong as a network's are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from factory.finetune.smplify import BestFits, Fit, fit, reprojection
from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.crops import keypoint_crop
from factory.geometry.joints import J24, J24_PART
from factory.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from factory.models.hmr.spin import load_spin
from factory.models.priors.base import VPoserPrior
from factory.models.priors.choice import load_prior
from factory.starter.world.actions import ACTIONS, sample_pose
from factory.starter.world.cache import HELD_OUT
from factory.starter.world.pose import to_smpl
from factory.starter.world.scene import World
from factory.weights.locate import resolve

POSES = 64


class People(NamedTuple):
    """Bodies (pose, betas, camera) and what is seen of them."""

    pose: Tensor
    betas: Tensor
    camera: Tensor
    keypoints: Tensor

    @property
    def body(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.pose, self.betas, self.camera


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel("starter:body")


@pytest.fixture(scope="module")
def prior() -> VPoserPrior:
    return load_prior("vposer-v1", str(resolve("starter:vposer")))


@pytest.fixture(scope="module")
def truth(body: BodyModel) -> People:
    """People in poses of all actions of the starter world, seen from anywhere, each filling a crop."""
    rng = np.random.default_rng(HELD_OUT)
    actions = [action for _, action in zip(range(POSES), 4 * list(ACTIONS.values()), strict=False)]
    poses = [to_smpl(sample_pose(action, rng), rng.uniform(-180, 180)) for action in actions]
    rotations = axis_angle_to_matrix(torch.from_numpy(np.stack(poses)).float())
    rotations[:, 0] = axis_angle_to_matrix(torch.tensor([[np.pi, 0, 0]])) @ rotations[:, 0]  # the camera's y is down
    betas = torch.from_numpy(rng.normal(0, 0.6, (POSES, 10))).float()
    joints = spin49(body.joints54(rotations, betas))[:, J24_PART]
    low, high = joints[..., :2].amin(1), joints[..., :2].amax(1)
    camera = torch.cat([1.6 / (high - low).amax(1, keepdim=True), -(low + high) / 2], 1)
    keypoints = torch.cat([project_on_crop(joints, camera), torch.ones(POSES, 24, 1)], 2)
    return People(matrix_to_axis_angle(rotations).flatten(1), betas, camera, keypoints)


@pytest.fixture(scope="module")
def start(truth: People) -> tuple[Tensor, Tensor, Tensor]:
    """The bodies of `truth` with errors: 0.3 rad in each angle, the mean shape, and 5 % of the crop in the camera."""
    noise = torch.Generator().manual_seed(0)
    pose = truth.pose + 0.3 * torch.randn(truth.pose.shape, generator=noise)
    camera = truth.camera + 0.05 * torch.randn(truth.camera.shape, generator=noise)
    return pose, torch.zeros(POSES, 10), camera


def joint_errors(body: BodyModel, pose: Tensor, betas: Tensor, truth: People) -> Tensor:
    """(N,) m: the mean distance of J24 from that of the truth, both from the pelvis."""

    def joints(pose: Tensor, betas: Tensor) -> Tensor:
        found = spin49(body.joints54(axis_angle_to_matrix(pose.view(-1, 24, 3)), betas))[:, J24_PART]
        return found - found[:, [2, 3]].mean(1, keepdim=True)

    return (joints(pose, betas) - joints(truth.pose, truth.betas)).norm(dim=-1).mean(1)


@pytest.mark.heavy(3)
def test_64_held_out_poses_keep_a_quarter_of_their_error_after_100_steps(body, prior, truth, start):
    """50 steps of each stage: 100 in all. Nearly all become good enough to be targets, and they come nearer in 3D."""
    before = reprojection(body, *start, truth.keypoints)
    fitted = fit(body, *start, truth.keypoints, prior, steps=50)
    assert before.mean() > 20  # px
    assert fitted.reprojection.mean() <= 0.15 * before.mean()
    assert (fitted.reprojection <= 0.25 * before).float().mean() > 0.9
    assert (fitted.loss < 100).float().mean() > 0.9
    wrong = joint_errors(body, start[0], start[1], truth)
    assert joint_errors(body, fitted.pose, fitted.betas, truth).mean() < 0.5 * wrong.mean()
    torch.testing.assert_close(
        fitted.reprojection, reprojection(body, fitted.pose, fitted.betas, fitted.camera, truth.keypoints)
    )


@pytest.mark.slow  # it renders 64 scenes
def test_the_networks_estimates_of_64_rendered_people_keep_a_quarter_of_their_error(body, prior):
    scenes: list = []
    world, seed = World(), HELD_OUT
    while len(scenes) < POSES:
        scene = world.sample(seed)
        scenes += [scene] if len(scene.pose) == 1 else []
        seed += 1
    pose, betas, transl, K = (
        torch.from_numpy(np.stack([value[0] if value.ndim == 2 and len(value) == 1 else value for value in values]))
        for values in zip(*((scene.pose, scene.betas, scene.transl, scene.K) for scene in scenes), strict=True)
    )
    joints = spin49(body.joints54(axis_angle_to_matrix(pose.view(-1, 24, 3)), betas)) + transl[:, None]
    seen = joints @ K.mT
    pixels = torch.cat([seen[..., :2] / seen[..., 2:], torch.ones(POSES, 49, 1)], 2)
    network = load_spin(str(resolve("starter:hmr")))
    estimates = network.estimate([scene.image for scene in scenes], [person[None].numpy() for person in pixels])
    crop = torch.from_numpy(np.stack([keypoint_crop(person.numpy(), network.crop_scale) for person in pixels]))
    keypoints = pixels[:, J24_PART].clone()
    keypoints[..., :2] = (keypoints[..., :2] - crop[:, None, :2]) * 2 / crop[:, None, 2:]

    def field(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(estimate, name) for estimate in estimates]))

    start = torch.cat([field("global_orient"), field("body_pose")], 1), field("betas"), field("camera")
    before = reprojection(body, *start, keypoints)
    fitted = fit(body, *start, keypoints, prior)
    assert fitted.reprojection.mean() <= 0.25 * before.mean()


@pytest.fixture(scope="module")
def few(truth: People, start: tuple[Tensor, Tensor, Tensor]) -> Callable[[int], tuple[People, tuple]]:
    """The first people of `truth`, and of `start`."""
    return lambda count: (People(*(x[:count] for x in truth)), tuple(x[:count] for x in start))


def test_a_fit_does_not_depend_on_its_batch(body, prior, truth, start, few):
    alone, first = few(1)
    several, firsts = few(3)
    one, three = (fit(body, *s, p.keypoints, prior, 20) for p, s in ((alone, first), (several, firsts)))
    torch.testing.assert_close(one.pose, three.pose[:1], atol=1e-3, rtol=0)
    torch.testing.assert_close(one.loss, three.loss[:1], atol=1e-2, rtol=1e-3)


def test_an_unknown_joint_pulls_at_nothing(body, prior, few):
    people, start = few(4)
    fits = []
    for place in (0.0, 5.0):
        keypoints = people.keypoints.clone()
        keypoints[:, J24.index("left_wrist")] = torch.tensor([place, place, 0])
        fits.append(fit(body, *start, keypoints, prior, 20))
    assert torch.equal(fits[0].pose, fits[1].pose) and torch.equal(fits[0].loss, fits[1].loss)
    assert torch.equal(fits[0].reprojection, fits[1].reprojection)


@pytest.mark.heavy(2)
def test_a_misplaced_keypoint_hardly_moves_the_others(body, prior, few):
    """A crop's side away, as when an annotator takes another person's hand. Squares would pull the body along, by 6 px
    and more."""
    people, _ = few(4)
    keypoints = people.keypoints.clone()
    keypoints[:, J24.index("left_wrist"), 0] += 2.0
    fitted = fit(body, *people.body, keypoints, prior)
    known = people.keypoints.clone()
    known[:, J24.index("left_wrist"), 2] = 0
    assert reprojection(body, fitted.pose, fitted.betas, fitted.camera, known).mean() < 2  # px


@pytest.mark.heavy(2)
def test_overstretched_knees_and_elbows_bend_back(body, prior):
    """Where no keypoint says anything, only the priors move the body."""
    pose = torch.zeros(1, 72)
    pose[0, [12, 15, 55, 58]] = torch.tensor([-0.8, -0.8, 0.8, -0.8])  # knees about x, the left and right elbow about y
    start = pose, torch.full((1, 10), 0.5), torch.tensor([[0.9, 0, 0]])
    fitted = fit(body, *start, torch.zeros(1, 24, 3), prior)
    assert (fitted.pose[0, [12, 15, 55, 58]].abs() < 0.4).all()
    assert fitted.betas.abs().max() < 0.1  # and the shape goes towards the mean
    assert fitted.loss.isinf().all() and fitted.reprojection.isnan().all()


def test_nothing_that_is_given_changes_or_gets_a_gradient(body, prior, few):
    people, start = few(2)
    given = *start, people.keypoints
    before = [x.clone() for x in given]
    start[0].requires_grad_()  # as what a network in training returns
    with torch.no_grad():  # as callers may ask
        fitted = fit(body, *start, people.keypoints, prior, 3)
    start[0].requires_grad_(False)
    assert all(torch.equal(a, b) for a, b in zip(before, given, strict=True))
    assert all(parameter.grad is None for parameter in prior.network.parameters())
    assert not any(x.requires_grad for x in (fitted.pose, fitted.betas, fitted.camera, fitted.loss))
    assert not torch.equal(fitted.pose, before[0])


def bodies(*losses: float, betas: float = 1.0) -> Fit:
    count = len(losses)
    pose = torch.randn(count, 72, generator=torch.Generator().manual_seed(len(losses) + int(10 * betas)))
    return Fit(pose, torch.full((count, 10), betas), torch.zeros(count, 3), torch.tensor(losses), torch.zeros(count))


def update(best: BestFits, rows: list[int], fits: Fit) -> None:
    best.update(np.array(rows), fits.rotations, fits.betas, fits.loss)


def test_the_better_fit_of_each_person_is_kept():
    best, everybody = BestFits(4), np.arange(4)
    assert not best.targets(everybody)[2].any()  # nobody has a fit yet
    first, second = bodies(50.0, 90.0, 120.0), bodies(60.0, 80.0, 130.0, betas=2.0)
    update(best, [0, 1, 2], first)
    update(best, [0, 1, 2], second)
    rotations, betas, usable = best.targets(everybody)
    assert usable.tolist() == [True, True, False, False]  # 120 is above the threshold
    assert torch.equal(rotations[0], first.rotations[0]) and torch.equal(rotations[1], second.rotations[1])
    assert betas[:3, 0].tolist() == [1, 2, 1]
    assert torch.equal(best.targets(np.array([2, 0]))[0], rotations[[2, 0]])


def test_a_fit_without_known_keypoints_is_never_used():
    best = BestFits(1)
    update(best, [0], bodies(float("inf")))
    assert not best.targets(np.array([0]))[2].any()


def test_an_extreme_shape_becomes_the_mean_shape():
    best, fits = BestFits(2), bodies(1.0, 2.0)
    fits.betas[0, 3] = -3.5
    update(best, [0, 1], fits)
    _, betas, usable = best.targets(np.arange(2))
    assert usable.all() and torch.equal(betas, torch.stack([torch.zeros(10), torch.ones(10)]))


def test_stored_fits_survive_a_checkpoint(tmp_path):
    best, resumed = BestFits(3), BestFits(3)
    update(best, [2, 0], bodies(10.0, 20.0))
    torch.save(best.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
    for kept in (best, resumed):
        update(kept, [0, 1, 2], bodies(15.0, 5.0, 15.0, betas=0.5))
    for one, other in zip(best.targets(np.arange(3)), resumed.targets(np.arange(3)), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="3 people, not of 4"):
        BestFits(4).load_state_dict(best.state_dict())

"""Images of textured bodies: what they show, and that their labels are exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from factory.errors import UserError
from factory.finetune.textured import Textured
from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.joints import FLIP49, J24_PART
from factory.geometry.rotations import axis_angle_to_matrix
from factory.models.priors.base import VPoserPrior
from factory.models.priors.choice import load_prior
from factory.training.augment import cut_turned
from factory.weights.locate import resolve

SIZE, COUNT = 64, 4
RED, BLUE = torch.tensor([0.8, 0.1, 0.1]), torch.tensor([0.1, 0.2, 0.9])


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel("starter:body")


@pytest.fixture(scope="module")
def prior() -> VPoserPrior:
    return load_prior("vposer-v1", str(resolve("starter:vposer")))


@pytest.fixture(scope="module")
def estimates() -> tuple[Tensor, Tensor, Tensor]:
    """Bodies near the T-pose, each turned another way and standing inside its crop."""
    pose = 0.2 * torch.randn(COUNT, 72, generator=torch.Generator().manual_seed(0))
    pose[:, :3] = torch.tensor([[np.pi, 0, 0], [3, 0, 0.5], [0, 0, np.pi], [2.5, 1, 0]])
    return pose, torch.zeros(COUNT, 10), torch.tensor([[0.9, 0, 0.3]]).repeat(COUNT, 1)


@pytest.fixture(scope="module")
def painted(body: BodyModel, estimates: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The bodies of `estimates` as red outlines, a pixel too wide, before blue."""
    pose, betas, camera = estimates
    vertices, _ = body(pose[:, :3], pose[:, 3:], betas, torch.zeros(COUNT, 3))
    points = ((project_on_crop(vertices, camera) + 1) * SIZE / 2).long().clamp(0, SIZE - 1)
    mask = torch.zeros(COUNT, 1, SIZE, SIZE)
    for one, place in zip(mask, points, strict=True):
        one[0, place[:, 1], place[:, 0]] = 1
    mask = torch.nn.functional.max_pool2d(mask, 5, 1, 2)
    return torch.where(mask > 0, RED.view(3, 1, 1), BLUE.view(3, 1, 1))


@pytest.fixture(scope="module")
def textured(body, prior, estimates, painted) -> Textured:
    return Textured(body, prior, painted, *estimates)


@pytest.fixture
def outlined(body, prior, estimates, painted) -> Textured:
    """It draws white bodies before black."""
    drawer = Textured(body, prior, painted, *estimates)
    drawer.colours.fill_(255)
    drawer.backgrounds.zero_()
    return drawer


@pytest.mark.heavy(1)
def test_the_colours_are_the_persons_and_the_background_shows_nobody(textured):
    """Also the colours of what the image does not show: a back, or a hidden arm."""
    torch.testing.assert_close(textured.colours / 255, RED.expand_as(textured.colours), atol=0.01, rtol=0)
    blue = BLUE.view(3, 1, 1).expand_as(textured.backgrounds)
    torch.testing.assert_close(textured.backgrounds / 255, blue, atol=0.01, rtol=0)


def test_keypoints_find_the_person_whom_the_estimate_misses(body, prior, estimates, painted):
    """An estimate half a body too far to the right: its colours would be the background's, and the person would stay
    in the background."""
    pose, betas, camera = estimates
    joints = spin49(body.joints54(axis_angle_to_matrix(pose.view(COUNT, 24, 3)), betas))[:, J24_PART]
    keypoints = torch.cat([project_on_crop(joints, camera), torch.ones(COUNT, 24, 1)], 2)
    wrong = pose, betas, camera + torch.tensor([0, 0.12, 0])

    def shares(drawer: Textured) -> tuple[Tensor, Tensor]:
        """Of the vertices that are red, and of the background that is."""
        return tuple((x[0] > x[1]).float().mean() for x in (
            (drawer.colours[..., 0], drawer.colours[..., 2]), (drawer.backgrounds[:, 0], drawer.backgrounds[:, 2])
        ))  # fmt: skip

    blind, told = (Textured(body, prior, painted, *wrong, keypoints=known) for known in (None, keypoints))
    assert 10 * shares(told)[1] < shares(blind)[1]  # the paint is a little wider than a person
    assert shares(told)[0] > max(shares(blind)[0], 0.8)
    keypoints[..., 2] = 0  # nothing is known: the estimate is believed
    unknown = Textured(body, prior, painted, *wrong, keypoints=keypoints)
    assert torch.equal(unknown.backgrounds, blind.backgrounds) and torch.equal(unknown.colours, blind.colours)


def test_a_red_person_is_drawn_before_blue(textured):
    batch = textured.draw(np.random.default_rng(0), 6)
    image = batch["image"]
    assert image.shape == (6, 3, SIZE, SIZE) and image.dtype == torch.float32
    assert 0 <= image.min() and image.max() <= 1
    red = (image[:, 0] > image[:, 2]).float().mean((1, 2))
    assert ((red > 0.05) & (red < 0.6)).all()
    shades = image[:, 0][image[:, 0] > image[:, 2]]
    assert shades.std() > 0.05  # the light comes from one side


def test_the_labels_lie_where_the_body_is_drawn(body, outlined):
    batch = outlined.draw(np.random.default_rng(1), 6)
    rotations, betas, camera = batch["rotations"], batch["betas"], batch["camera"]
    vertices, joints = body(rotations[:, :1], rotations[:, 1:], betas, torch.zeros(6, 3))
    points = project_on_crop(vertices, camera)
    for image, place in zip(batch["image"], points, strict=True):
        row, column = (image[0] > 0.05).nonzero().unbind(1)
        for line, span in ((column, place[:, 0]), (row, place[:, 1])):
            low, high = ((span.amin() + 1) * SIZE / 2, (span.amax() + 1) * SIZE / 2)
            assert abs(line.min() - low.clamp(min=0)) < 1.5 and abs(line.max() + 1 - high.clamp(max=SIZE)) < 1.5
    keypoints = batch["keypoints"]
    assert keypoints.shape == (6, 49, 3) and (keypoints[..., 2] == 1).all()
    torch.testing.assert_close(keypoints[..., :2], project_on_crop(spin49(joints), camera), atol=1e-4, rtol=0)


def test_people_fill_the_crop_as_spin_crops_them(textured):
    """The box of the joints is 1.2 times smaller than the crop, or the torso is a third of it, and its centre is that
    of the crop."""
    points = textured.draw(np.random.default_rng(2), 16)["keypoints"][:, J24_PART, :2]
    low, high = points.amin(1), points.amax(1)
    torsos = (points[:, [8, 9]] - points[:, [2, 3]]).norm(dim=-1).mean(1)
    fill = torch.maximum((high - low).amax(1) * 1.2, torsos * 3)
    torch.testing.assert_close(fill, torch.full((16,), 2.0), atol=0.02, rtol=0)
    assert (low + high).abs().max() < 0.02


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_and_mirrored_crop_is_the_crop_turned_and_mirrored(outlined, mirrored):
    """As `cut_turned` cuts the real images of the same batch. A mirrored body is not symmetric to the millimetre."""
    turn, mirror = np.array([0.0, 0.5, -0.8, np.pi / 2]), np.full(4, mirrored)
    plain = outlined.draw(np.random.default_rng(3), 4)
    seen = outlined.draw(np.random.default_rng(3), 4, turn, mirror)
    angle, sign = torch.from_numpy(turn).float(), torch.from_numpy(np.where(mirror, -1.0, 1.0)).float()
    window = torch.tensor([[SIZE / 2, SIZE / 2, float(SIZE)]]).repeat(4, 1)
    expected = cut_turned(plain["image"], window, angle, sign, SIZE)[:, 0] > 0.25
    found = seen["image"][:, 0] > 0.25
    both, either = (found & expected).sum((1, 2)), (found | expected).sum((1, 2))
    assert (both / either > 0.85).all() and (both / either)[[0, 3]].min() > 0.97  # else the pixels are interpolated

    x, y = plain["keypoints"][..., :2].unbind(-1)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    points = torch.stack([(cos * x + sin * y) * sign[:, None], cos * y - sin * x], -1)
    points = points[:, list(FLIP49)] if mirrored else points
    torch.testing.assert_close(seen["keypoints"][..., :2], points, atol=0.01 if mirrored else 1e-4, rtol=0)


def test_poses_come_from_the_priors_codes(body, prior, estimates, painted):
    """Without variation a body pose is what the prior makes of the estimate; hands and global orientation stay."""
    pose = estimates[0]
    drawer = Textured(body, prior, painted, *estimates, strength=0.0)
    drawn = drawer.draw(np.random.default_rng(4), 8)["rotations"]
    decoded = prior.decode(prior.encode(pose[:, 3:].numpy())[0])
    whole = torch.cat([pose[:, :3], torch.from_numpy(decoded), pose[:, 66:]], 1)
    expected = axis_angle_to_matrix(whole.view(COUNT, 24, 3))
    distance = (drawn[:, None] - expected).flatten(2).abs().amax(2)
    assert (distance.amin(1) < 1e-4).all()
    drawer.strength = 0.5
    assert ((drawer.draw(np.random.default_rng(4), 8)["rotations"] - drawn).abs().amax((1, 2, 3)) > 0.01).all()


def test_newer_estimates_are_drawn_from(body, prior, estimates, painted):
    drawer = Textured(body, prior, painted, *estimates)
    drawer.estimate(estimates[0], torch.full((COUNT, 10), 1.5), estimates[2])
    assert (drawer.draw(np.random.default_rng(0), 2)["betas"] == 1.5).all()


def test_the_same_generator_draws_the_same_images(body, prior, estimates, painted, textured):
    again = Textured(body, prior, (painted * 255).round().byte().numpy(), *estimates)  # as bytes instead of floats
    draws = [drawer.draw(np.random.default_rng(5), 3) for drawer in (textured, again)]
    for name, value in draws[0].items():
        torch.testing.assert_close(value, draws[1][name], atol=0.01 if name == "image" else 0, rtol=0)
    other = textured.draw(np.random.default_rng(6), 3)
    assert not torch.equal(other["image"], draws[0]["image"])


def test_estimates_beside_every_person_are_refused_in_one_line(body, prior, estimates, painted):
    pose, betas, camera = estimates
    with pytest.raises(UserError, match="lie beside the people"):
        Textured(body, prior, painted, pose, betas, camera + torch.tensor([0, 9.0, 0]))

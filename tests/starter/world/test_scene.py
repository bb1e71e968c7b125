"""The rendered world: deterministic, true to its own labels, varied."""

import numpy as np
import pytest
import torch

from factory.geometry.body import BodyModel
from factory.geometry.rasteriser import rasterise
from factory.starter.world.actions import ACTIONS, sample_pose
from factory.starter.world.pose import HIGH, LOW, key_pose, mirror, to_smpl
from factory.starter.world.scene import FIRST_OBJECT, World
from factory.weights.locate import resolve

MPII = (
    "bicycling",
    "conditioning exercise",
    "dancing",
    "fishing and hunting",
    "home activities",
    "home repair",
    "lawn and garden",
    "music playing",
    "occupation",
    "religious activities",
    "running",
    "self care",
    "sports",
    "transportation",
    "volunteer activities",
    "walking",
    "water activities",
    "winter activities",
)
SMART = ("high jump", "vault", "pole vault", "diving", "gymnastics on uneven bars", "gymnastics on a balance beam")


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_the_paper_s_actions_are_there():
    assert set(MPII) | set(SMART) <= set(ACTIONS)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(world):
    first, again, other = world.sample(7), World().sample(7), world.sample(8)
    assert (first.image == again.image).all() and (first.pose == again.pose).all() and first.prompt == again.prompt
    assert (first.image != other.image).any()


def test_labels_drawn_again_land_on_the_people(world):
    """Pose, betas, transl and K alone give back the silhouette: the truth is the picture's."""
    body = BodyModel(resolve("starter:body"))
    for seed in range(20, 32):
        s = world.sample(seed)
        pose = torch.from_numpy(s.pose)
        vertices, _ = body(pose[:, :3], pose[:, 3:], torch.from_numpy(s.betas), torch.from_numpy(s.transl))
        drawn = (rasterise(vertices, body.faces, torch.from_numpy(s.K), 128, 128).face >= 0).any(0).numpy()
        seen = (s.instances > 0) & (s.instances < FIRST_OBJECT)
        assert (seen & ~drawn).sum() <= 0.06 * seen.sum(), seed  # masks lie a quarter of a pixel off the centre
        assert (s.depth > 0).sum() == seen.sum()


def test_people_and_things_that_hide_them_are_labelled(world):
    counts, objects = [], 0
    for seed in range(40):
        s = world.sample(seed)
        counts.append(len(s.pose))
        objects += (s.instances >= FIRST_OBJECT).any()
        assert s.instances.max() < FIRST_OBJECT + len(s.objects)
    assert {1, 2} <= set(counts) and objects >= 20


@pytest.mark.parametrize("name", ACTIONS)
def test_poses_keep_within_joint_limits(name):
    rng = np.random.default_rng(0)
    for _ in range(20):
        vector = sample_pose(ACTIONS[name], rng)
        assert (vector >= LOW).all() and (vector <= HIGH).all()


def test_hard_actions_are_far_from_standing():
    """Mean joint rotation away from standing, hands and root included."""
    rng, standing = np.random.default_rng(1), to_smpl(key_pose())

    def distance(name: str) -> float:
        return float(np.mean([np.linalg.norm(to_smpl(sample_pose(ACTIONS[name], rng)) - standing) for _ in range(30)]))

    hard = [distance(name) for name, action in ACTIONS.items() if action.hard]
    assert min(hard) > distance("walking") and np.mean(hard) > 2 * distance("walking")


def test_a_mirrored_pose_is_the_mirror_image():
    rng = np.random.default_rng(3)
    body = BodyModel(resolve("starter:body"))
    vector = sample_pose(ACTIONS["dancing"], rng)
    poses = torch.from_numpy(np.stack([to_smpl(vector), to_smpl(mirror(vector))]).reshape(2, 72)).float()
    zeros = torch.zeros(2, 10)
    _, joints = body(poses[:, :3], poses[:, 3:], zeros, torch.zeros(2, 3))
    pairs = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
    flipped = joints[1, pairs] * torch.tensor([-1, 1, 1])
    assert (flipped - joints[0, :24]).abs().max() < 2e-3


def test_scenes_of_a_seed_stay_what_they_were(world):
    """The starter pack was trained on them, and caches on disk are still read."""
    scene = world.sample(0)
    assert scene.prompt == "a high resolution photo of an old person doing diving"
    assert scene.image.mean() == pytest.approx(156.291, abs=0.5)
    assert scene.K[0] == pytest.approx([313.5255, 0, 61.0755], abs=1e-3)

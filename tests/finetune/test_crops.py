"""Crops of people: what a network sees at test time, and labels that fit their turned and mirrored images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from factory.finetune.crops import Shuffled, Views, seen_so, unseen_so
from factory.finetune.sources import make_crops
from factory.geometry.crops import cut
from factory.labelled.choice import open_people


@pytest.fixture(scope="module")
def people(synthetic):
    return open_people(str(synthetic))


@pytest.mark.parametrize("size", [48, 51])
def test_a_crop_as_it_is_is_what_the_network_sees_at_test_time(people, size):
    crops, rows = make_crops(people, size), np.array([3, 1])
    seen = (crops.pixels(rows, Views.plain(2)) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    expected = [cut(image, people.crop[row], size) for row, image in zip(rows, people.read(rows), strict=True)]
    np.testing.assert_allclose(seen, np.stack(expected), atol=2)


def test_labels_follow_the_view(people):
    """The people's joints are white spots: after any turn and mirroring they lie where the keypoints say."""
    crops, rows = make_crops(people, 60), np.arange(8)
    turn = np.deg2rad([0, 0, 30, -45, 60, 30, -20, 10])
    views = Views(turn, np.array([False, True] * 4), np.ones((8, 3)))
    batch, pixels = crops.draw(rows, views), crops.pixels(rows, views)
    places = batch["keypoints"][:, 25:, :2]
    inside = (places.abs() < 0.95).all(-1)
    bright = torch.nn.functional.grid_sample(pixels, places[:, :, None], align_corners=False).mean((1, 3))
    assert inside.sum() > 100
    assert bright[inside].mean() > 0.9 and pixels.mean() < 0.7


def test_a_body_follows_the_view(people):
    """The joints of the turned and mirrored body project to the turned and mirrored keypoints."""
    from factory.geometry.body import BodyModel, spin49
    from factory.geometry.camera import project_on_crop

    body, crops, rows = BodyModel("starter:body"), make_crops(people, 48), np.arange(6)
    views = Views.draw(np.random.default_rng(4), 6)
    assert views.mirror.any() and (views.turn != 0).any()
    batch = crops.draw(rows, views)
    joints = spin49(body.joints54(batch["rotations"], batch["betas"]))
    true = spin49(body.joints54(crops.labels.rotations[:6], crops.labels.betas[:6]))
    centre = seen_so({"keypoints": true - true[:, 8:9]}, views)["keypoints"]
    flat = (joints - joints[:, 8:9])[..., :2]
    # The pelvis apart, a body seen from afar moves as its keypoints do.
    torch.testing.assert_close(flat[:, 25:], centre[:, 25:, :2], atol=0.02, rtol=0)
    assert project_on_crop(joints, torch.tensor([[0.8, 0, 0.2]]).expand(6, 3)).isfinite().all()


def test_a_view_can_be_undone(people):
    crops, rows, views = make_crops(people, 48), np.arange(16), Views.draw(np.random.default_rng(0), 16)
    labels = {"keypoints": crops.labels.keypoints[rows], "rotations": crops.labels.rotations[rows]}
    back = unseen_so(seen_so(labels, views), views)
    for name, values in labels.items():
        torch.testing.assert_close(back[name], values, atol=1e-5, rtol=0)


def test_every_person_is_seen_once_in_an_epoch():
    order = Shuffled(10, 5)
    steps = [order.take(step, 4) for step in range(5)]
    epochs = np.concatenate(steps).reshape(2, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()
    np.testing.assert_array_equal(Shuffled(10, 5).take(3, 4), steps[3])
    assert sorted(Shuffled(3, 0).take(0, 9)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]

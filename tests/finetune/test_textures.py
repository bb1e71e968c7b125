"""Backgrounds without people, and the lines between keypoints."""

from __future__ import annotations

import torch

from factory.finetune.textures import bones, widened, without_people
from factory.geometry.joints import J24

SIZE = 48


def rows_of_colours() -> torch.Tensor:
    """(1, 3, SIZE, SIZE): each row has a colour of its own, as a wall, a floor and a sky have."""
    rows = torch.linspace(0.2, 0.9, SIZE)
    return torch.stack([rows, 1 - rows, rows.square()])[None, :, :, None].repeat(1, 1, 1, SIZE)


def test_a_person_is_covered_by_what_lies_beside():
    scene = rows_of_colours()
    person = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    person[:, 6:42, 18:28] = True
    images = torch.where(person[:, None], torch.tensor(1.0), scene)
    background, replaced = without_people(images, widened(person))
    torch.testing.assert_close(background, scene)
    assert torch.equal(replaced, widened(person))


def test_the_black_border_of_a_crop_stays_and_covers_nobody():
    scene = rows_of_colours()
    scene[..., :12] = 0  # the crop reaches 12 px beyond its image, whose first column is mixed with black
    scene[..., 12] *= 0.5
    person = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    person[:, 10:40, 14:30] = True
    background, replaced = without_people(torch.where(person[:, None], torch.tensor(1.0), scene), person)
    assert (background[..., :12] == 0).all() and not replaced[..., :12].any()
    torch.testing.assert_close(background[..., 14:], scene[..., 14:])


def test_a_person_who_fills_the_crop_leaves_a_blur():
    person = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    background, _ = without_people(torch.ones(1, 3, SIZE, SIZE), person)
    assert (background == 0.5).all()  # nothing else is known
    person[..., :8] = False
    background, _ = without_people(rows_of_colours(), person)
    assert background.isfinite().all() and 0.2 < background[..., 24:].mean() < 0.9


def test_bones_join_known_keypoints():
    keypoints = torch.zeros(2, 24, 3)
    keypoints[:, J24.index("left_elbow")] = torch.tensor([-0.5, 0.0, 1])
    keypoints[:, J24.index("left_wrist")] = torch.tensor([0.5, 0.0, 1])
    keypoints[1, J24.index("left_wrist"), 2] = 0
    mask = bones(keypoints, SIZE)
    row, column = mask[0].nonzero().unbind(1)
    assert row.unique().tolist() == [SIZE // 2]
    assert column.unique().tolist() == list(range(12, 44))  # from the elbow to beyond the wrist: the hand
    assert not mask[1].any()

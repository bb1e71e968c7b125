"""Crops of people from their keypoints; crops from boxes and their pixels are tested with the estimator that cuts."""

import numpy as np
import pytest

from factory.geometry.crops import keypoint_crop, person_crop, square_crop, torso_length

TORSOS = [(0, 1), (2, 3)]
POINTS = np.array([[50.0, 20], [50, 40], [70, 20], [70, 60], [40, 140]])


def test_the_box_around_the_known_points_or_three_torsos_where_that_is_more():
    everything = np.ones(5, bool)
    assert person_crop(POINTS, everything, TORSOS, 1.2) == (55, 80, 144)  # 1.2 times 120 px; three torsos are 90
    upper = np.array([True, True, True, True, False])
    assert person_crop(POINTS, upper, TORSOS, 1.2) == (60, 40, 90)  # the torsos are 20 and 40 px long
    assert person_crop(POINTS, np.array([True, True, True, False, False]), TORSOS, 1.2) == (60, 30, 60)
    assert person_crop(POINTS, np.array([True, False, True, False, False]), TORSOS, 1.2) == (60, 20, 24)


def test_a_single_point_is_a_box_of_a_pixel():
    alone = np.array([True, False, False, False, False])
    assert person_crop(POINTS, alone, TORSOS, 1.2) == pytest.approx((50, 20, 1.2))
    with pytest.raises(ValueError, match="no keypoint"):
        person_crop(POINTS, np.zeros(5, bool), TORSOS, 1.2)


def test_keypoints_of_spin49_are_cropped_by_the_same_rule():
    keypoints = np.zeros((49, 3), np.float32)
    keypoints[[33, 27, 34, 28]] = np.insert(POINTS[:4], 2, 1, 1)  # shoulders and hips of the second half
    np.testing.assert_allclose(keypoint_crop(keypoints, 1.2), [60, 40, 90])
    keypoints[:, 2] *= np.arange(49) < 30  # the shoulders are not known
    np.testing.assert_allclose(keypoint_crop(keypoints, 1.2), square_crop(np.array([50, 40, 70, 60]), 1.2))


def test_many_torsos_at_once():
    np.testing.assert_allclose(torso_length(np.stack([POINTS, 2 * POINTS]), TORSOS), [30, 60])

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from factory.geometry.agreement import (
    aligned_distance,
    crop_distances,
    iou,
    mean_distance,
    oks,
    pa_mpjpe,
    pck,
    procrustes,
)
from factory.geometry.joints import COCO17_SIGMAS, SPIN49_OF_COCO17


@pytest.fixture
def target() -> np.ndarray:
    joints = np.random.default_rng(0).uniform(0, 200, (3, 49, 3))
    joints[..., 2] = 1
    return joints


BOX = np.array([[0, 0, 100, 200.0]] * 3)


def test_oks_is_cocos(target):
    """Written out once more for one keypoint that is off by d."""
    moved = target.copy()
    moved[0, SPIN49_OF_COCO17[7], :2] += (3, 4)  # left elbow
    variance = (2 * COCO17_SIGMAS[7]) ** 2
    expected = (16 + np.exp(-(5**2) / (2 * 0.53 * 100 * 200 * variance))) / 17
    np.testing.assert_allclose(oks(moved, target, BOX), [expected, 1, 1], atol=1e-9)


def test_oks_knows_size_and_leaves_out_what_is_not_labelled(target):
    moved = target + [5, 0, 0]
    small, large = oks(moved, target, BOX)[0], oks(moved, target, BOX * 3)[0]
    assert 0 < small < large < 1
    target[0, :, 2] = 0
    target[1, SPIN49_OF_COCO17[3] :, 2] = 0
    worth = oks(moved, target, BOX)
    assert np.isnan(worth[0]) and 0 < worth[1] < 1


def test_coco_order_has_left_before_right():
    """SPIN-49 comes right arm first; a swap would halve every score."""
    limbs = "nose neck r-sho r-elb r-wri l-sho l-elb l-wri pelvis r-hip r-kne r-ank l-hip l-kne l-ank"
    names = f"{limbs} r-eye l-eye r-ear l-ear".split()
    sides = [names[i] for i in SPIN49_OF_COCO17]
    assert sides[0] == "nose" and [s[0] for s in sides[1:]] == ["l", "r"] * 8
    assert [s[2:] for s in sides[1::2]] == ["eye", "ear", "sho", "elb", "wri", "hip", "kne", "ank"]


def test_pa_mpjpe_forgives_a_similarity_and_takes_spins_joints(target):
    joints = np.concatenate([target, np.ones((3, 49, 1))], -1) / 100
    turned = 2 * joints[..., [1, 2, 0, 3]] + 1
    assert pa_mpjpe(turned, joints).max() < 1e-6
    turned[0, 30, 0] += 0.1
    turned[1, 10] += 9  # none of the fourteen
    error = pa_mpjpe(turned, joints)
    assert error[0] > 1 and error[1:].max() < 1e-6


def test_iou_of_nothing():
    nothing = np.zeros((4, 4), bool)
    assert iou(nothing, nothing) == 0


def test_pa_mpjpe_agrees_with_scipys_orthogonal_procrustes():
    rng = np.random.default_rng(1)
    target = rng.normal(size=(50, 14, 3))
    points = 0.7 * target[..., [2, 0, 1]] + 3 + rng.normal(0, 0.1, target.shape)
    expected = []
    for a, b in zip(points, target, strict=True):
        x, y = a - a.mean(0), b - b.mean(0)
        turn, trace = orthogonal_procrustes(x, y)
        assert np.linalg.det(turn) > 0
        fitted = trace / (x**2).sum() * x @ turn
        expected.append(1000 * np.linalg.norm(fitted - y, axis=1).mean())
    np.testing.assert_allclose(aligned_distance(points, target), expected, rtol=1e-6)


def test_a_scaled_and_turned_copy_has_no_aligned_error_and_a_mirrored_one_has():
    target = np.random.default_rng(2).normal(size=(4, 14, 3))
    copy = 1.7 * target[..., [1, 2, 0]] - [3, 0, 9]
    assert aligned_distance(copy, target).max() < 1e-9 and mean_distance(copy, target).min() > 100
    assert aligned_distance(target * [-1, 1, 1], target).min() > 100


def test_unknown_joints_neither_count_nor_pull():
    rng = np.random.default_rng(3)
    target = rng.normal(size=(3, 14, 3))
    points = 2 * target[..., [1, 2, 0]] + rng.normal(0, 0.1, target.shape)
    known = np.ones((3, 14), bool)
    known[:, 10:] = False
    expected = aligned_distance(points[:, :10], target[:, :10])
    points[:, 10:], target[0, 10:] = 99, np.nan
    np.testing.assert_allclose(aligned_distance(points, target, known), expected, rtol=1e-9)
    np.testing.assert_allclose(mean_distance(points, target, known), mean_distance(points[:, :10], target[:, :10]))
    known[1] = False
    assert np.isnan(aligned_distance(points, target, known)).tolist() == [False, True, False]
    assert np.isfinite(procrustes(points, target, known)[2]).all()


def test_pck_of_a_hand_made_case():
    """Crops of 448 and 112 px: 22.4 px of 224 are 44.8 and 11.2 px. The last joint is not sure, so not counted."""
    keypoints = np.zeros((3, 4, 3))
    keypoints[:, :3, 2], keypoints[:, 3, 2], keypoints[2, :, 2] = 1, 0.9, 0
    points = np.zeros((3, 4, 2))
    points[0, :, 0], points[1, :, 1] = (44, 45, 0, 0), (0, 11, 12, 0)
    distances = crop_distances(points, keypoints, np.array([448.0, 112, 224]))
    np.testing.assert_allclose(pck(distances), [2 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(distances[0, :2] * 224, [22, 22.5])
    assert pck(np.array([[np.inf, 0, np.nan]])) == 0.5

import numpy as np
import pytest

from factory.geometry.agreement import iou, oks, pa_mpjpe
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

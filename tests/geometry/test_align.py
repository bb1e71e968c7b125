from dataclasses import replace

import numpy as np
import pytest

from factory.geometry.agreement import iou
from factory.geometry.align import aligned_cameras
from factory.geometry.body import BodyModel
from factory.geometry.camera import full_image_K
from factory.geometry.placing import place_bodies
from factory.geometry.rasteriser import rasterise
from factory.models.hmr.base import BodyEstimate

SIZE = 128
WHOLE = full_image_K(SIZE, SIZE)
NOTHING = np.zeros((SIZE, SIZE), bool)


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel("starter:body")


def person(camera: tuple[float, float, float], centre: float = 64) -> BodyEstimate:
    """Upright, seen from the front (OpenCV: y down), in a crop of 100 px."""
    still = np.zeros((1, 69)), np.zeros((1, 10))
    return BodyEstimate(np.array([[np.pi, 0, 0]]), *still, np.array([camera]), np.array([[centre, 64, 100]]))


def silhouette(body: BodyModel, one: BodyEstimate, K: np.ndarray = WHOLE) -> np.ndarray:
    placed = place_bodies(one, K, body)
    return (rasterise(placed.vertices, body.faces, placed.K, SIZE, SIZE).face[0] >= 0).numpy()


def align(people: list[BodyEstimate], masks: np.ndarray, hidden: np.ndarray, body: BodyModel, K: np.ndarray = WHOLE):
    """The people as they are after alignment."""
    cameras = aligned_cameras(BodyEstimate.joined(people), K, masks, hidden, body)
    return [replace(one, camera=camera[None]) for one, camera in zip(people, cameras, strict=True)]


TRUE = person((0.8, 0.0, 0.2))


def test_a_body_finds_its_place_and_size(body):
    mask = silhouette(body, TRUE)
    wrong = person((0.76, 0.06, 0.14))
    [found] = align([wrong], mask[None], NOTHING, body)
    before, after = iou(silhouette(body, wrong), mask), iou(silhouette(body, found), mask)
    assert before < 0.5 and after > 0.85


def test_where_nothing_is_better_it_stays(body):
    for mask in (silhouette(body, TRUE), NOTHING):
        [found] = align([TRUE], mask[None], NOTHING, body)
        np.testing.assert_array_equal(found.camera, TRUE.camera)


def test_what_an_object_hides_says_nothing(body):
    """Of the person the upper half is seen."""
    whole, box = silhouette(body, TRUE), NOTHING.copy()
    box[60:] = True
    wrong = person((0.84, 0.04, 0.2))
    [found] = align([wrong], (whole & ~box)[None], box, body)
    [fooled] = align([wrong], (whole & ~box)[None], NOTHING, body)  # as if the person ended there
    assert iou(silhouette(body, found), whole) > 0.88 > 0.85 > iou(silhouette(body, fooled), whole)


def test_people_of_an_image_each_by_their_own_mask(body):
    """The one in front hides a part of the other."""
    front, back = TRUE, person((0.8, 0.0, 0.2), centre=76)
    masks = np.stack([silhouette(body, front), silhouette(body, back)])
    masks[1] &= ~masks[0]
    wrong = person((0.8, 0.05, 0.2), centre=76)
    ahead, behind = align([front, wrong], masks, NOTHING, body)
    np.testing.assert_array_equal(ahead.camera, front.camera)
    assert iou(silhouette(body, wrong), silhouette(body, back)) < 0.75
    assert iou(silhouette(body, behind), silhouette(body, back)) > 0.85
    [alone] = align([front], masks[:1], NOTHING, body)
    np.testing.assert_array_equal(alone.camera, ahead.camera)  # whoever else is there


def test_an_estimators_own_camera_is_its_camera(body):
    near = np.array([[110, 0, 64], [0, 110, 64], [0, 0, 1]], np.float32)
    right, wrong = person((0.8, 0, 0.2)), person((0.8, 0.05, 0.16))
    mask = silhouette(body, right, near)
    stays, [found] = align([right], mask[None], NOTHING, body, near), align([wrong], mask[None], NOTHING, body, near)
    np.testing.assert_array_equal(stays[0].camera, right.camera)
    assert iou(silhouette(body, found, near), mask) > 0.9 > 0.8 > iou(silhouette(body, wrong, near), mask)


def test_no_further_than_what_is_seen_asks_for(body):
    """Of the person a strip is seen, which tells where it is sideways, and nothing of up and down."""
    right, wrong = person((0.8, 0.0, 0.2)), person((0.8, 0.1, 0.2))  # by four pixels
    whole, hidden = silhouette(body, right), ~NOTHING
    hidden[50:56] = False
    [found] = align([wrong], (whole & ~hidden)[None], hidden, body)
    assert found.camera[0, 2] == wrong.camera[0, 2] and iou(silhouette(body, found), whole) > 0.9


def test_nobody(body):
    assert aligned_cameras(BodyEstimate.nobody(), WHOLE, np.zeros((0, SIZE, SIZE), bool), NOTHING, body).shape == (0, 3)

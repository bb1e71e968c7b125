import base64
import io

import numpy as np
import pytest
from PIL import Image

from factory.geometry.body import BodyModel
from factory.geometry.camera import full_image_K
from factory.present import pictures
from factory.weights.locate import resolve

SIZE = 64


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel(resolve("starter:body"))


def people(*places: tuple[float, float]) -> dict[str, np.ndarray]:
    """Upright bodies at (x, z) m, facing a camera that sees a whole person at 55 m."""
    count = len(places)
    return {
        "global_orient": np.tile(np.array([[np.pi, 0, 0]], np.float32), (count, 1)),
        "body_pose": np.zeros((count, 69), np.float32),
        "betas": np.zeros((count, 10), np.float32),
        "transl": np.array([[x, 0.1, z] for x, z in places], np.float32).reshape(-1, 3),
        "K": np.tile(full_image_K(SIZE, SIZE), (count, 1, 1)),
    }


def test_overlay_draws_the_body_where_the_camera_sees_it(body: BodyModel) -> None:
    grey = np.full((SIZE, SIZE, 3), 90, np.uint8)
    picture = pictures.overlay(grey, people((0.0, 55.0)), body, side=2 * SIZE)
    assert picture.shape == (2 * SIZE, 2 * SIZE, 3)
    drawn = (picture != 90).any(-1)
    columns = np.nonzero(drawn.any(0))[0]
    assert abs(columns.mean() - SIZE) < 4  # in the middle
    assert 0.03 < drawn.mean() < 0.5
    assert np.ptp(picture[drawn].astype(int).sum(-1)) > 100  # shaded, not flat


def test_the_nearer_body_covers_the_farther(body: BodyModel) -> None:
    grey = np.zeros((SIZE, SIZE, 3), np.uint8)
    first, second = people((0.0, 50.0), (0.0, 60.0)), people((0.0, 60.0), (0.0, 50.0))
    chest = (SIZE // 2 - 4, SIZE // 2)
    blue = pictures.overlay(grey, first, body, side=SIZE)[chest].astype(int)
    orange = pictures.overlay(grey, second, body, side=SIZE)[chest].astype(int)
    assert blue[2] > blue[0] and orange[0] > orange[2]


def test_nobody_leaves_the_image(body: BodyModel) -> None:
    grey = np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert (pictures.overlay(grey, people(), body, side=SIZE) == 90).all()


def test_depth_is_brightest_where_nearest() -> None:
    metres = np.zeros((4, 4), np.float32)
    metres[1], metres[2] = 2.0, 3.0
    picture = pictures.depth(metres).astype(int).sum(-1)
    assert (picture[1] > picture[2]).all() and (picture[2] > picture[0]).all()
    assert (pictures.depth(np.zeros((4, 4), np.float32)) == pictures.BACKGROUND).all()


def test_masks_tint_people_and_objects_only() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    person, objects = np.zeros((2, 4, 4), bool)
    person[0], objects[3] = True, True
    picture = pictures.masks(image, person, objects).astype(int)
    assert (picture[0, :, 2] > picture[0, :, 0]).all() and (picture[3, :, 0] > picture[3, :, 2]).all()
    assert np.ptp(picture[1:3]) == 0


def test_data_uri_holds_the_picture() -> None:
    picture = np.zeros((8, 6, 3), np.uint8)
    head, _, data = pictures.data_uri(picture).partition(",")
    assert head == "data:image/webp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (6, 8)


def test_contact_sheet_places_groups_in_a_grid() -> None:
    rows = [[np.full((8, 8, 3), 40 * i, np.uint8)] * 2 for i in range(5)]
    sheet = pictures.contact_sheet(rows, columns=2, side=10, gap=2)
    assert sheet.shape == (3 * 12 + 2, 2 * 22 + 2, 3)
    assert (sheet[2:12, 2:22] == 0).all() and (sheet[26:36, 2:22] == 160).all()

"""What plug-ins, detectors and given poses may answer, and what fails the record with a reason that names the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from factory.models import answers
from factory.models.answers import BadAnswer
from factory.models.detectors.base import Instance, instance

IMAGE = np.zeros((8, 6, 3), np.uint8)
BOX = np.array([[0, 0, 4, 4]])
K = np.eye(3, dtype=np.float32)


def body(**changes: Any) -> dict[str, Any]:
    made = {name: np.full(shape, 0.5, np.float32) for name, shape in answers.BODY.items()}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


class Plugin:
    finds = False

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def estimate(self, images: list, boxes: list | None) -> Any:
        return self.answer

    detect = lambda self, images: self.answer  # noqa: E731


def test_a_sound_answer_is_float32() -> None:
    wide = {name: value.astype(np.float64) for name, value in body().items()}
    found = answers.estimates(Plugin([[wide | {"K": K, "score": np.float64(0.9)}]]), [IMAGE], [BOX])[0][0]
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)} and found["score"].shape == ()
    given = body()
    assert answers.bodies([given], "poses.path")[0]["betas"] is given["betas"]  # no byte changes
    assert answers.estimates(Plugin([[]]), [IMAGE], None) == [[]]


NAN, INF = np.full(3, np.nan, np.float32), np.full(10, np.inf, np.float32)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([[body(camera=NAN)]], r"body 0: camera is not finite \(it holds nan\)"),
        ([[body(betas=INF)]], r"body 0: betas is not finite \(it holds inf\)"),
        ([[body(betas=np.full(10, 1e300))]], "betas is not finite"),
        ([[body(body_pose=np.zeros(69, complex))]], "body_pose is of type complex128, not float32"),
        ([[body(global_orient=np.zeros(3, "M8[s]"))]], r"global_orient is of type datetime64\[s\], not float32"),
        ([[body(betas=np.array(["1"] * 10))]], "betas is of type <U1"),
        ([[body(betas=np.array([None] * 10))]], "betas is of type object"),
        ([[body(crop=np.zeros(3, bool))]], "crop is of type bool"),
        ([[body(body_pose=np.zeros(63, np.float32))]], r"body_pose has the shape \(63,\), not \(69,\)"),
        ([[body(camera=np.zeros((1, 3), np.float32))]], r"camera has the shape \(1, 3\)"),
        ([[body(K=np.full((3, 3), np.nan))]], "K is not finite"),
        ([[body(score=np.array(np.nan))]], "score is not finite"),
        ([[body(score=np.zeros(1))]], r"score has the shape \(1,\), not \(\)"),
        ([[body(betas=None)]], "body 0 lacks betas"),
        ([[body(shape=INF)]], "body 0 has an unknown field shape"),
        ([[np.zeros(85)]], "body 0 is a ndarray, not a dict"),
        ([[body(), body()]], "gives 2 bodies for 1 boxes"),
        ([[]], "gives 0 bodies for 1 boxes"),
        ([], "gives 0 answers for 1 images"),
        (None, "no list of lists"),
        ([body()], "no list of lists"),
    ],
)
def test_a_wrong_estimate_is_told_by_its_field(answer: Any, words: str) -> None:
    with pytest.raises(BadAnswer, match=words):
        answers.estimates(Plugin(answer), [IMAGE], [BOX])


def test_the_people_of_an_image_have_one_camera() -> None:
    for others, words in ((body(K=2 * K), "different cameras K"), (body(), "K for some people .* only")):
        with pytest.raises(BadAnswer, match=words):
            answers.estimates(Plugin([[body(K=K), others]]), [IMAGE], None)


def found(**changes: Any) -> Instance:
    mask = np.zeros((8, 6), bool)
    mask[2:5, 1:3] = True
    made = instance(0.9, True, mask)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": float("nan")}, "instance 1: score is not finite"),
        ({"bbox": np.array([0, 0, np.inf, 4])}, "instance 1: bbox is not finite"),
        ({"bbox": np.zeros(5)}, r"instance 1: bbox has the shape \(5,\)"),
        ({"mask": np.zeros((6, 8), bool)}, r"mask is \(6, 8\) of bool, not \(8, 6\) of bool"),
        ({"mask": np.ones((8, 6))}, r"mask is \(8, 6\) of float64"),
        ({"mask": np.zeros((8, 6), bool)}, "mask is empty"),
        ({"label": "people"}, "label is 'people', not person or object"),
    ],
)
def test_a_wrong_detection_is_told_by_its_field(change: dict, words: str) -> None:
    assert answers.instances(Plugin([[found()]]), [IMAGE])[0][0].score == 0.9
    with pytest.raises(BadAnswer, match=words):
        answers.instances(Plugin([[found(), found(**change)]]), [IMAGE])

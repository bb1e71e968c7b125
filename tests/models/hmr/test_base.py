"""What estimators may answer, and what fails the record with a reason that names the field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from factory.models.bad_answer import BadAnswer
from factory.models.hmr.base import PER_PERSON, BodyEstimate, estimate_bodies

IMAGE = np.zeros((8, 6, 3), np.uint8)
BOX = np.array([[0, 0, 4, 4]])
K = np.eye(3, dtype=np.float32)


def body(count: int = 1, **changes: Any) -> BodyEstimate:
    fields = {name: np.full((count, width), 0.5, np.float32) for name, width in PER_PERSON.items()}
    return BodyEstimate(**{**fields, **changes})


class Plugin:
    finds = False

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def estimate(self, images: list, boxes: list | None) -> Any:
        return self.answer


def test_a_sound_answer_is_float32() -> None:
    wide = body(betas=np.ones((1, 10)), K=np.eye(3), score=np.array([0.9]))
    assert {getattr(wide, name).dtype for name in (*PER_PERSON, "K", "score")} == {np.dtype(np.float32)}
    given = np.ones((1, 10), np.float32)
    assert body(betas=given).betas is given  # no byte changes
    assert [len(some) for some in estimate_bodies(Plugin([wide, BodyEstimate.nobody()]), [IMAGE] * 2, None)] == [1, 0]


def test_people_are_picked_and_joined_with_all_their_fields() -> None:
    pair = body(2, camera=np.array([[1, 0, 0], [2, 0, 0]]), K=K, score=np.array([0.9, 0.8]))
    second = pair[[1]]
    assert len(second) == 1 and second.camera[0, 0] == 2 and second.score.tolist() == [np.float32(0.8)]
    assert second.K is pair.K and len(pair[:0]) == len(pair[[]]) == 0
    both = BodyEstimate.joined([pair[[1]], pair[:1]])
    assert both.camera[:, 0].tolist() == [2, 1] and both.K is both.score is None
    assert replace(pair, betas=pair.betas + 1).betas[0, 0] == 1.5
    with pytest.raises(BadAnswer, match="camera is not finite"):
        replace(pair, camera=np.full((2, 3), np.nan))


NAN, INF = np.full((1, 3), np.nan, np.float32), np.full((1, 10), np.inf, np.float32)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"camera": NAN}, r"camera is not finite \(it holds nan\)"),
        ({"betas": INF}, r"betas is not finite \(it holds inf\)"),
        ({"betas": np.full((1, 10), 1e300)}, "betas is not finite"),
        ({"body_pose": np.zeros((1, 69), complex)}, "body_pose is of type complex128, not float32"),
        ({"global_orient": np.zeros((1, 3), "M8[s]")}, r"global_orient is of type datetime64\[s\], not float32"),
        ({"global_orient": None}, "global_orient is of type object"),
        ({"betas": np.array([["1"] * 10])}, "betas is of type <U1"),
        ({"betas": np.array([[None] * 10])}, "betas is of type object"),
        ({"crop": np.zeros((1, 3), bool)}, "crop is of type bool"),
        ({"body_pose": np.zeros((1, 63), np.float32)}, r"body_pose has the shape \(1, 63\), not \(1, 69\)"),
        ({"camera": np.zeros(3, np.float32)}, r"camera has the shape \(3,\), not \(1, 3\)"),
        ({"betas": np.zeros((2, 10), np.float32)}, r"betas has the shape \(2, 10\), not \(1, 10\)"),
        ({"K": np.full((3, 3), np.nan)}, "K is not finite"),
        ({"K": K[None]}, r"K has the shape \(1, 3, 3\), not \(3, 3\)"),
        ({"score": np.array([np.nan])}, "score is not finite"),
        ({"score": np.zeros(())}, r"score has the shape \(\), not \(1,\)"),
    ],
)
def test_a_wrong_estimate_is_told_by_its_field(fields: dict, words: str) -> None:
    with pytest.raises(BadAnswer, match=words):
        body(**fields)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([body(2)], "gives 2 bodies for 1 boxes"),
        ([body(0)], "gives 0 bodies for 1 boxes"),
        ([], "gives 0 answers for 1 images"),
        ([[body()]], "no list with a BodyEstimate for each image"),
        ([{"betas": np.zeros((1, 10))}], "no list with a BodyEstimate for each image"),
        (body(), "no list with a BodyEstimate"),
        (None, "no list with a BodyEstimate"),
    ],
)
def test_an_answer_of_another_kind_or_number_is_told(answer: Any, words: str) -> None:
    with pytest.raises(BadAnswer, match=words):
        estimate_bodies(Plugin(answer), [IMAGE], [BOX])

"""What detectors may answer, and what fails the record with a reason that names the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from factory.models.bad_answer import BadAnswer
from factory.models.detectors.base import Instance, detect_instances, instance

IMAGE = np.zeros((8, 6, 3), np.uint8)


class Plugin:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def detect(self, images: list) -> Any:
        return self.answer


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
    assert detect_instances(Plugin([[found()]]), [IMAGE])[0][0].score == 0.9
    with pytest.raises(BadAnswer, match=words):
        detect_instances(Plugin([[found(), found(**change)]]), [IMAGE])


@pytest.mark.parametrize(
    ("answer", "words"),
    [(None, "no list with a list"), ([found()], "no list with a list"), ([], "gives 0 answers for 1 images")],
)
def test_an_answer_of_another_kind_or_number_is_told(answer: Any, words: str) -> None:
    with pytest.raises(BadAnswer, match=words):
        detect_instances(Plugin(answer), [IMAGE])

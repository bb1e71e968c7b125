"""The error for a wrong answer of an estimator, detector or prior, and the checks that all of them share.

Plug-ins may be wrong, and so may networks whose weights overflow. A NaN would travel on silently: a body with a NaN
camera lies outside every frame, so that its record would end as "rejected: out of frame" and nobody would look at the
estimator. So each answer is checked where it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class BadAnswer(Exception):
    """An answer is not what the protocol asks for; the message names the field. It fails the record.

    It is no ValueError, because an estimator raises that for an image in which it finds nobody.
    """


def numbers(value: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The value as float32. Raises BadAnswer where it has another shape or type, or is not finite; `name` is for the
    message. The memory is shared where the value is float32 already."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise BadAnswer(f"{name} is of type {array.dtype}, not float32")
    if array.shape != shape:
        raise BadAnswer(f"{name} has the shape {array.shape}, not {shape}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        first = array[~np.isfinite(array)].ravel()[0]
        raise BadAnswer(f"{name} is not finite (it holds {first})")
    return array


def one_per_image(answer: Any, images: Sequence[np.ndarray], kind: type, source: str) -> None:
    """Raises BadAnswer where the answer is no list of one `kind` for each image. source: who answers."""
    if not isinstance(answer, list | tuple) or not all(isinstance(entry, kind) for entry in answer):
        raise BadAnswer(f"{source} gives no list with a {kind.__name__} for each image")
    if len(answer) != len(images):
        raise BadAnswer(f"{source} gives {len(answer)} answers for {len(images)} images")

"""What an estimator of bodies must answer, and the check of its and a detector's answers: plug-ins may be wrong.

A NaN would travel on silently: a body with a NaN camera lies outside every frame, so that its record would end as
"rejected: out of frame" and nobody would look at the estimator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from factory.models.detectors.base import Detector, Instance

Body = dict[str, np.ndarray]  # one person; the fields of BODY and some of OPTIONAL
BODY = {"global_orient": (3,), "body_pose": (69,), "betas": (10,), "camera": (3,), "crop": (3,)}
OPTIONAL: dict[str, tuple[int, ...]] = {"K": (3, 3), "score": ()}


class HMR(Protocol):
    """An estimator of bodies. finds: it looks for people itself, so that boxes may be None."""

    finds: bool

    def estimate(self, images: list[np.ndarray], boxes: list[np.ndarray] | None) -> list[list[Body]]:
        """images: (H, W, 3) uint8 RGB each; boxes: (n, 4) x0, y0, x1, y1 px each, or where the job has them (n, 49, 3)
        keypoints of known people -> per image, per box (or per person found, best first), float32: global_orient (3,),
        body_pose (69,) axis-angle; betas (10,); crop (3,) = centre x, y, side px; camera (3,) = s, tx, ty on that crop.
        Optional: K (3, 3) px of the whole image, for an estimator with a camera of its own (default: SPIN's; all people
        of an image have one); score () of one found. `estimates` checks all this: a NaN, another shape or type
        fails the record with that reason. Raise ValueError where there are boxes and nobody is found.
        """


class BadAnswer(Exception):
    """An estimator or detector gave what its protocol does not allow; the message names the field. It fails the record.
    It is no ValueError, which `HMR` raises for an image in which nobody is found."""


def estimates(hmr: HMR, images: list[np.ndarray], boxes: list[np.ndarray] | None) -> list[list[Body]]:
    """`hmr.estimate(images, boxes)`, all float32. Raises BadAnswer where it is not as `HMR` says."""
    answer = hmr.estimate(images, boxes)
    _require_lists(answer, len(images), "the estimator")
    for i, people in enumerate(answer):
        if boxes is not None and len(people) != len(boxes[i]):
            raise BadAnswer(f"the estimator gives {len(people)} bodies for {len(boxes[i])} boxes")
    return [bodies(people, "the estimator") for people in answer]


def bodies(people: Sequence[Any], source: str) -> list[Body]:
    """The bodies of one image, float32. Raises BadAnswer for a field that is missing, unknown, of another shape or
    type, or not finite, and where the people have cameras K that differ. source: for messages."""
    checked = [_body(one, f"{source}'s body {i}") for i, one in enumerate(people)]
    if any(("K" in one) != ("K" in checked[0]) for one in checked):
        raise BadAnswer(f"{source} gives a camera K for some people of an image only")
    if any("K" in one and not np.array_equal(one["K"], checked[0]["K"]) for one in checked):
        raise BadAnswer(f"{source} gives the people of one image different cameras K")
    return checked


def _body(one: Any, where: str) -> Body:
    if not isinstance(one, dict):
        raise BadAnswer(f"{where} is a {type(one).__name__}, not a dict of arrays")
    known = {**BODY, **OPTIONAL}
    missing, unknown = [name for name in BODY if name not in one], [str(name) for name in one if name not in known]
    if missing or unknown:
        raise BadAnswer(f"{where} lacks {missing[0]}" if missing else f"{where} has an unknown field {unknown[0]}")
    return {name: numbers(value, known[name], f"{where}: {name}") for name, value in one.items()}


def numbers(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """The value as float32. Raises BadAnswer where it is of another shape or type, or not finite; `where` says what it
    is."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise BadAnswer(f"{where} is of type {array.dtype}, not float32")
    if array.shape != shape:
        raise BadAnswer(f"{where} has the shape {array.shape}, not {shape}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        first = array[~np.isfinite(array)].ravel()[0]
        raise BadAnswer(f"{where} is not finite (it holds {first})")
    return array


def instances(detector: Detector, images: list[np.ndarray]) -> list[list[Instance]]:
    """`detector.detect(images)`. Raises BadAnswer where it is not as `instances.Detector` says."""
    answer = detector.detect(images)
    _require_lists(answer, len(images), "the detector")
    for image, found in zip(images, answer, strict=True):
        for i, one in enumerate(found):
            _require_instance(one, image.shape[:2], f"the detector's instance {i}")
    return answer


def _require_instance(one: Any, size: tuple[int, int], where: str) -> None:
    numbers(one.score, (), f"{where}: score")
    numbers(one.bbox, (4,), f"{where}: bbox")
    if one.label not in ("person", "object"):
        raise BadAnswer(f"{where}: label is {one.label!r}, not person or object")
    mask = np.asarray(one.mask)
    if mask.dtype != bool or mask.shape != size:
        raise BadAnswer(f"{where}: mask is {mask.shape} of {mask.dtype}, not {size} of bool")
    if not mask.any():
        raise BadAnswer(f"{where}: mask is empty")


def _require_lists(answer: Any, count: int, source: str) -> None:
    if not isinstance(answer, list | tuple) or not all(isinstance(some, list | tuple) for some in answer):
        raise BadAnswer(f"{source} gives no list of lists, one for each image")
    if len(answer) != count:
        raise BadAnswer(f"{source} gives {len(answer)} answers for {count} images")

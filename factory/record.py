"""The data that stages work on: a Unit holds Records, and a Record holds Persons. Every record ends in one state.

A unit is sent between processes as one `.npz`: arrays and one JSON member, never a pickle. Images are (H, W, 3) uint8
RGB, masks (H, W) bool; lengths are in metres, angles in radians. Cameras follow OpenCV (x right, y down, z forward), in
pixels of the stored image.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

import numpy as np

from factory.errors import escaped
from factory.metrics import measured


class State(StrEnum):
    """The state of a record. Every planned record ends as ok, rejected or failed."""

    PENDING = "pending"  # the stages are not through with it: each may still reject it
    OK = "ok"
    REJECTED = "rejected"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a record was rejected."""

    NO_PERSON = "no person"
    EMPTY_DEPTH = "empty depth"
    TOO_SMALL = "too small"
    OUT_OF_FRAME = "out of frame"
    EASY = "easy"
    NO_POSE = "no pose"  # the file of given poses has none for this image
    NO_KEYPOINTS = "no keypoints"  # the file of keypoints has none for this image, or none inside its window
    NO_IMAGE = "no image"  # the image was listed, but its file is not there
    BROKEN_IMAGE = "broken image"
    SMALL_IMAGE = "small image"
    HUGE_IMAGE = "huge image"


@dataclass(kw_only=True)
class Measured:
    """Base of Record and Person. metrics: name of the metric (factory.metrics) -> value; a metric that was not or
    cannot be measured is absent. The mapping is never changed in place, because copies of a record share it."""

    metrics: Mapping[str, float] = field(default_factory=dict)

    def measure(self, **values: float | None) -> None:
        """Store values by name of the metric. None or NaN: the metric cannot be measured here.

        KeyError: there is no such metric. ValueError: the value is infinite, or is NaN and the metric must have a
        value.
        """
        self.metrics = measured(self.metrics, values)


@dataclass
class Person(Measured):
    """One labelled body and its cameras.

    global_orient (3,) and body_pose (69,): axis-angle, camera frame; betas (10,); transl (3,) m, added after posing.
    K (3, 3): the perspective camera of the whole image, shared by all its people.
    camera (3,): SPIN's weak-perspective (s, tx, ty) on the square crop crop = (centre x, centre y, side) px.
    joints2d (49, 3): px + confidence; joints3d (49, 4): m, camera frame + confidence; both in SPIN-49 order.
    bbox (4,): x0, y0, x1, y1 px of the projected body, clipped to the image.
    """

    global_orient: np.ndarray
    body_pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    K: np.ndarray
    camera: np.ndarray
    crop: np.ndarray
    joints2d: np.ndarray
    joints3d: np.ndarray
    bbox: np.ndarray
    detection_score: float = 1.0


@dataclass
class Record(Measured):
    """One planned sample. The plan fills the fields up to `cycle`; a comment names the stage that fills a later one."""

    key: str
    seed: int
    prompt: str
    source: str = ""  # name of the real image, or number of the row of given poses, that the record is made of
    variant: int = 0  # number of the record among those made of the same real image, row or text-to-image image
    image_seed: int | None = None  # seed of the initial image, which variants share; None: `seed`
    cycle: int = 0  # rounds of stages 2 to 4 that are finished
    state: State = State.PENDING
    reason: str = ""  # why the record was rejected
    stage: str = ""  # stage in which it was rejected or failed
    error: str = ""  # the exception that made it fail, one line
    attempts: int = 1
    kept: bool = False  # estimate: the pose is easy, and the job keeps such images without refining them
    refined: bool = False  # refine: whether `final` was redrawn; otherwise it is the initial image
    people: list[Person] = field(default_factory=list)  # estimate
    window: np.ndarray | None = None  # plan, generate: the square of the real image that is used: centre x, y, side px
    initial: np.ndarray | None = None  # generate: (H, W, 3) uint8; in later cycles, the previous cycle's final image
    person_mask: np.ndarray | None = None  # estimate: (H, W) bool, union of detected people
    object_mask: np.ndarray | None = None  # estimate: (H, W) bool, union of detected non-people
    silhouette: np.ndarray | None = None  # render: (H, W) bool, the rendered bodies with their occluded parts
    depth: np.ndarray | None = None  # render: (H, W) float32 m, d* of Eq. 3; 0: no body, or occluded
    final: np.ndarray | None = None  # refine: (H, W, 3) uint8

    @property
    def active(self) -> bool:
        return self.state is State.PENDING

    def array(self, name: str) -> np.ndarray:
        """The array of that field. ValueError when no earlier stage has filled it."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{name} is missing: no earlier stage made it")
        return value

    def seed_for(self, purpose: str) -> int:
        """A seed derived from the record's seed, the purpose and the cycle. With one seed for all purposes, stage 4
        would add the very noise that stage 1 started from."""
        round_ = f":{self.cycle}" if self.cycle else ""
        digest = hashlib.blake2b(f"{self.seed}:{purpose}{round_}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") & (2**63 - 1)

    def reject(self, reason: Reason, stage: str) -> None:
        self.state, self.reason, self.stage = State.REJECTED, str(reason), stage

    def fail(self, error: BaseException | str, stage: str) -> None:
        text = error if isinstance(error, str) else f"{type(error).__name__}: {_words(error)}"
        self.state, self.stage, self.error = State.FAILED, stage, escaped(" ".join(text.split()))[:500]


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # the exception class of a plug-in may itself raise
        return "(it cannot be told)"


@dataclass
class Unit:
    """One batch of records: the stages compute it as a whole, and one part file holds its samples."""

    shard: int
    index: int  # within the shard
    records: list[Record]

    @property
    def active(self) -> list[Record]:
        return [record for record in self.records if record.active]

    def to_bytes(self) -> bytes:
        """The unit as an uncompressed .npz."""
        arrays: dict[str, np.ndarray] = {}
        rows = [_flatten(record, f"{i}", arrays) for i, record in enumerate(self.records)]
        for row, (i, record) in zip(rows, enumerate(self.records), strict=True):
            row["people"] = [_flatten(person, f"{i}.{j}", arrays) for j, person in enumerate(record.people)]
        meta = json.dumps({"shard": self.shard, "index": self.index, "records": rows})
        arrays["meta"] = np.frombuffer(meta.encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Unit:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = dict(stored)
        meta = json.loads(arrays.pop("meta").tobytes())
        for row in meta["records"]:
            row["people"] = [Person(**_restore(person, arrays)) for person in row["people"]]
            row["state"] = State(row["state"])
        records = [Record(**_restore(row, arrays)) for row in meta["records"]]
        return cls(meta["shard"], meta["index"], records)


def _flatten(item: Record | Person, prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The item's plain fields; its arrays go to `arrays`, and row["arrays"] says under which name: field -> name."""
    row: dict[str, Any] = {"arrays": {}}
    for f in fields(item):
        value = getattr(item, f.name)
        if isinstance(value, np.ndarray):
            arrays[f"{prefix}.{f.name}"] = value
            row["arrays"][f.name] = f"{prefix}.{f.name}"
        elif f.name != "people":
            row[f.name] = value
    return row


def _restore(row: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    own = {field_name: arrays[name] for field_name, name in row["arrays"].items()}
    return {name: value for name, value in row.items() if name != "arrays"} | own

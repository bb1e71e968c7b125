"""What travels: a Unit of Records, each with its People and, at the end, exactly one state.

A unit crosses process borders as one `.npz` (arrays plus one JSON member, never a pickle), so any engine can carry it
and anybody can open it. Images are (H, W, 3) uint8 RGB; masks (H, W) bool; lengths metres; angles radians; cameras
follow OpenCV (x right, y down, z forward) in pixels of the stored image.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

import numpy as np

from factory.errors import escaped
from factory.metrics import measured


class State(StrEnum):
    """Where a record stands. Every planned record ends as ok, rejected or failed."""

    PENDING = "pending"  # on its way: every stage may still reject it
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
    NO_POSE = "no pose"  # given for this image
    NO_KEYPOINTS = "no keypoints"  # given for this image, or none in the part that is shown
    NO_IMAGE = "no image"  # it was listed and is not there
    BROKEN_IMAGE = "broken image"
    SMALL_IMAGE = "small image"
    HUGE_IMAGE = "huge image"


@dataclass(kw_only=True)
class Measured:
    """What a record and a person share: `metrics`, the values by name (factory.metrics); one that was not or cannot be
    measured is absent. The mapping is never changed in place, because copies of a record share it."""

    metrics: Mapping[str, float] = field(default_factory=dict)

    def measure(self, **values: float | None) -> None:
        """Store values by metric name. None or NaN: the metric cannot be measured here.

        KeyError: no such metric. ValueError: not finite where a value must be.
        """
        self.metrics = measured(self.metrics, values)


@dataclass
class Person(Measured):
    """One estimated body and the camera that sees it.

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
    """One planned sample on its way through the stages. Fields below `people` are filled by the stage named."""

    key: str
    seed: int
    prompt: str
    source: str = ""  # the real image, or the row of the pose file, that it comes from
    variant: int = 0  # of that image or row, or of one text-to-image image
    image_seed: int | None = None  # of the initial image; None: `seed`. Variants share it
    cycle: int = 0  # rounds of stages 2 to 4 behind it
    state: State = State.PENDING
    reason: str = ""  # why it was rejected
    stage: str = ""  # where it was rejected or failed
    error: str = ""  # the exception, one line
    attempts: int = 1
    kept: bool = False  # estimate: its pose is easy and the job keeps such images as they are
    refined: bool = False  # False: `final` is the initial image itself
    people: list[Person] = field(default_factory=list)  # estimate
    window: np.ndarray | None = None  # the square of the real image that is shown: centre x, centre y, side px
    initial: np.ndarray | None = None  # generate: (H, W, 3) uint8; in later cycles the final image of the one before
    person_mask: np.ndarray | None = None  # estimate: (H, W) bool, union of detected people
    object_mask: np.ndarray | None = None  # estimate: (H, W) bool, union of detected non-people
    silhouette: np.ndarray | None = None  # render: (H, W) bool, the whole rendered body, occluded parts too
    depth: np.ndarray | None = None  # render: (H, W) float32 m, d* of Eq. 3: 0 = no body or occluded
    final: np.ndarray | None = None  # refine: (H, W, 3) uint8

    @property
    def active(self) -> bool:
        return self.state is State.PENDING

    def array(self, name: str) -> np.ndarray:
        """A field that an earlier stage has filled. ValueError when it has not."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{name} is missing: no earlier stage made it")
        return value

    def seed_for(self, purpose: str) -> int:
        """A random stream per purpose and cycle: stage 4's noise must not be the noise that stage 1 started from."""
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
    except Exception:  # an exception of a plug-in may be faulty itself
        return "(it cannot be told)"


@dataclass
class Unit:
    """One batch of records: what one task computes, what one part file holds."""

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


def _flatten(item: Record | Person, prefix: str, arrays: dict[str, np.ndarray]) -> dict:
    """The item's plain fields; its arrays go to `arrays`, and row["arrays"] says under which name: field -> name."""
    row: dict = {"arrays": {}}
    for f in fields(item):
        value = getattr(item, f.name)
        if isinstance(value, np.ndarray):
            arrays[f"{prefix}.{f.name}"] = value
            row["arrays"][f.name] = f"{prefix}.{f.name}"
        elif f.name != "people":
            row[f.name] = value
    return row


def _restore(row: dict, arrays: dict[str, np.ndarray]) -> dict:
    own = {field_name: arrays[name] for field_name, name in row["arrays"].items()}
    return {name: value for name, value in row.items() if name != "arrays"} | own

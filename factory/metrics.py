"""The metrics: every figure that a stage computes of a record or of a person in it, in one table.

`METRICS` is the only place that names them. What stages store (`Record.measure`, `Person.measure`), the columns of the
index, the fields of a sample's json, the arrays of smpl.npz, `factory stats`, the report, the dataset card, `--where`
and the JSON Schemas follow from it. To add a metric, add its entry here and store its value in the stage that computes
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

STAGES = ("estimate", "render", "score")  # those that compute metrics, in the order in which a record passes them
MORE = math.inf  # upper end of a range that has none


@dataclass(frozen=True)
class Metric:
    """One figure. Of an image it is a column of the index and a field of the json; of a person, an array of smpl.npz.

    name: as in `Record.metrics`, the index, the json and smpl.npz. label: the same for people to read.
    doc: what it says, in full sentences. stage: the stage that computes it.
    low, high: ends of its range, in `unit` (empty: a pure number). digits: decimals that tell something.
    plot_to: right end of its histograms, which begin at 0 and are the same for every data set; values beyond are
    counted in the last bin.
    better: which of two values is the better one; None where neither is.
    per_image, per_person: whether a record has one, whether each of its people has one.
    initial: name of the metric that says the same of the initial image; empty: there is none.
    short: a shorter name, shown below the report's images and accepted, in small letters, by `--where`; empty: there is
    none.
    missing: what the index, the json and smpl.npz hold where it was not or cannot be measured. None: null, and NaN in
    smpl.npz.
    """

    name: str
    label: str
    doc: str
    stage: Literal["estimate", "render", "score"]
    low: float = 0
    high: float = 1
    unit: str = ""
    digits: int = 3
    plot_to: float = 1
    better: Literal["higher", "lower"] | None = None
    per_image: bool = True
    per_person: bool = False
    initial: str = ""
    short: str = ""
    missing: float | None = None

    @property
    def optional(self) -> bool:
        """Whether it may be missing: null in the index and in the json, NaN in smpl.npz."""
        return self.missing is None

    @property
    def about(self) -> str:
        """`doc` with unit, range and direction, as the report, the card and the JSON Schema show it."""
        limits = f"From {self.low:g} up" if self.high == MORE else f"From {self.low:g} to {self.high:g}"
        better = f"; {self.better} is better" if self.better else ""
        return f"{self.doc} {limits}{f', in {self.unit}' if self.unit else ''}{better}."


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "pose_score",
            label="pose score",
            doc="How hard the pose is: the sum of squares of its code in the pose prior's latent space. Of an image, "
            "the largest over its people.",
            stage="estimate",
            high=MORE,
            digits=1,
            plot_to=100,
            per_person=True,
            short="score",
            missing=0.0,
        ),
        Metric(
            "silhouette_iou",
            label="silhouette IoU",
            doc="Intersection over union of two masks: the rendered bodies, where no object occludes them, and the "
            "people that the detector finds in the final image.",
            stage="score",
            better="higher",
            initial="silhouette_iou_initial",
            short="IoU",
        ),
        Metric(
            "silhouette_iou_initial",
            label="silhouette IoU initial",
            doc="The same overlap with the people that the detector finds in the initial image.",
            stage="score",
            better="higher",
        ),
        Metric(
            "oks",
            label="OKS",
            doc="COCO's object keypoint similarity of the label with a body that is re-estimated from the final image. "
            "Of an image, the mean over its people.",
            stage="score",
            better="higher",
            per_person=True,
            initial="oks_initial",
            short="OKS",
        ),
        Metric(
            "oks_initial",
            label="OKS initial",
            doc="The same similarity with a body that is re-estimated from the initial image: how much of a label the "
            "estimator can find again at all. Of an image, the mean over its people.",
            stage="score",
            better="higher",
            per_person=True,
        ),
        Metric(
            "reestimate_pa_mpjpe",
            label="re-estimate PA-MPJPE",
            doc="Mean distance of 14 joints of the label from those of a body that is re-estimated from the final "
            "image, after Procrustes alignment. Of an image, the mean over its people.",
            stage="score",
            high=MORE,
            unit="mm",
            digits=1,
            plot_to=300,
            better="lower",
            per_person=True,
        ),
        Metric(
            "visible_share",
            label="visible share",
            doc="Share of the body that lies inside the frame and is occluded by no object and no other body. Of an "
            "image, the mean over its people.",
            stage="render",
            per_person=True,
        ),
        Metric(
            "frame_share",
            label="frame share",
            doc="Share of the frame that the rendered bodies cover, occluded parts included.",
            stage="render",
        ),
    )
}


def of_images() -> list[Metric]:
    """The metrics that each record has, in the order of the index."""
    return [metric for metric in METRICS.values() if metric.per_image]


def of_people() -> list[Metric]:
    """The metrics that each person has, in the order of smpl.npz: that of the stages."""
    return sorted((metric for metric in METRICS.values() if metric.per_person), key=lambda m: STAGES.index(m.stage))


def may_be_missing(name: str) -> bool:
    """Whether that column, field or array is a metric that need not have a value."""
    return name in METRICS and METRICS[name].optional


def computed_by(stage: str) -> list[str]:
    """Names of the metrics that a stage computes, in the order of the table."""
    return [metric.name for metric in METRICS.values() if metric.stage == stage]


def measured(before: Mapping[str, float], values: Mapping[str, float | None]) -> dict[str, float]:
    """`before` with new values by metric name. None or NaN: the metric cannot be measured here, and is left out.

    KeyError: no such metric. ValueError: infinite, or NaN where the metric must have a value.
    """
    after = {name: value for name, value in before.items() if name not in values}
    for name, value in values.items():
        metric = METRICS[name]
        if value is None or (metric.optional and math.isnan(value)):
            continue
        if not math.isfinite(value):
            raise ValueError(f"{name} is not finite")
        after[name] = float(value)
    return after

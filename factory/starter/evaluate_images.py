"""Figures of the starter pack's pictures: the four stages run on a job, and what the segmenter sees before and after.

    python -m factory.starter.evaluate_images jobs/demo.yaml [--records 96] [--json]

The silhouette is the rendered body's, minus what the detector says stands in front of it.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from factory.config import load
from factory.engine.run import default_stages
from factory.job import JobSpec
from factory.models.agreement import iou
from factory.plan import plan
from factory.record import Record, State


def figures(job: JobSpec) -> dict[str, float | int]:
    """found: share of first images with a person. follows: share of those whose body covers the person by half or more.
    iou_initial, iou_final: mean IoU of body and segmented person, of the refined records."""
    from factory.models.detector import load_detector

    stages = [stage(job) for stage in default_stages(job)]
    records: list[Record] = []
    for unit in plan(job).iter_units():
        for stage in stages:
            unit = stage(unit)
        records += unit.records
    failed = [record.error for record in records if record.state is State.FAILED]
    if failed:
        raise RuntimeError(f"{len(failed)} records failed, the first: {failed[0]}")
    spec = job.stages.estimate.detector
    detector = load_detector(spec.kind, spec.model, spec.threshold, "cpu")
    refined = [record for record in records if record.refined]
    final = [_person(found, job.image_size) for found in detector.detect([record.array("final") for record in refined])]
    body = [record.array("silhouette") & ~record.array("object_mask") for record in refined]
    before = [iou(b, record.array("person_mask")) for b, record in zip(body, refined, strict=True)]
    after = [iou(b, person) for b, person in zip(body, final, strict=True)]
    found = [record for record in records if record.person_mask is not None and record.person_mask.any()]
    return {
        "found": len(found) / len(records),
        "refined": len(refined) / len(records),
        "follows": float(np.mean(np.array(before) >= 0.5)),
        "iou_initial": float(np.mean(before)),
        "iou_final": float(np.mean(after)),
        "records": len(records),
    }


def _person(instances: list, size: int) -> np.ndarray:
    return np.any([i.mask for i in instances if i.label == "person"] or [np.zeros((size, size), bool)], axis=0)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job")
    parser.add_argument("--records", type=int, default=96)
    parser.add_argument("--seed", type=int, default=1, help="of the job: 0 is the demo's own")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    values = figures(load(args.job, [f"records={args.records}", f"seed={args.seed}"]))
    if args.json:
        print(json.dumps(values, indent=1))
        return
    for name, value in values.items():
        print(f"{name:12} {value:8.3f}" if isinstance(value, float) else f"{name:12} {value:8}")


if __name__ == "__main__":
    main()

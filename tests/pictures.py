"""`python -m tests.pictures`: draw the README's pictures anew, from jobs/demo.yaml and each job in jobs/modes.

The demo: first image, final image and the mesh over it. The modes: first image, depth of the body, final image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from factory.config import load_job
from factory.engine.run import run_job
from factory.geometry.body import BodyModel
from factory.present.pictures import contact_sheet
from factory.present.samples import painter
from factory.store.dataset import open_data
from factory.weights.locate import resolve
from tests.support.command import ROOT

PRESENT = ROOT / "factory" / "present"


def draw(job: Path, to: Path, columns: Sequence[str], samples: int, side: int, per_row: int) -> None:
    """The job's first `samples` samples, the pictures of each beside each other."""
    with tempfile.TemporaryDirectory() as folder:
        spec = load_job(job, [f"output={folder}/out"])
        run_job(spec)
        rows = [row for row in open_data(spec.output).rows.to_pylist() if row["state"] == "ok"][:samples]
        paint = painter(spec, BodyModel(resolve(spec.body.model)), columns, side)
        drawn = [[paint(open_data(spec.output).sample_files(row))[name] for name in columns] for row in rows]
    Image.fromarray(contact_sheet(drawn, per_row, side, gap=4)).save(to, quality=80, optimize=True, progressive=True)
    print(to.relative_to(ROOT), flush=True)


if __name__ == "__main__":
    draw(ROOT / "jobs" / "demo.yaml", PRESENT / "demo.jpg", ("initial", "final", "mesh"), 12, 128, 3)
    for job in sorted((ROOT / "jobs" / "modes").glob("*.yaml")):
        draw(job, PRESENT / "modes" / f"{job.stem}.jpg", ("initial", "depth", "final"), 3, 80, 3)

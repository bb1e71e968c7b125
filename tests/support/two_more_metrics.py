"""A program: add two metrics to the table, as a contributor would, and go through everything that shows metrics.

Usage: two_more_metrics JOB.json. Prints JSON: what is shown -> the text in which the metrics must stand.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np

from factory.metrics import METRICS, MORE, Metric

for metric in (
    Metric("contrast", "contrast", "How much the pixels of the final image differ.", "score", high=MORE, unit="levels",
           plot_to=255, digits=1, better="higher", short="Con"),
    Metric("reach", "reach", "How far the hands are apart.", "render", unit="m", per_image=False, per_person=True),
):  # fmt: skip
    METRICS[metric.name] = metric

# What follows reads the table while it is imported.
from typer.testing import CliRunner  # noqa: E402

from factory.cli import app  # noqa: E402
from factory.errors import UserError  # noqa: E402
from factory.export.source import ExportSource  # noqa: E402
from factory.job import JobSpec  # noqa: E402
from factory.present import card, report  # noqa: E402
from factory.schema import texts  # noqa: E402
from factory.store.dataset import open_data  # noqa: E402
from factory.store.decode import decode_json, decode_people  # noqa: E402
from factory.store.index import SCHEMA  # noqa: E402
from factory.store.verify import verify  # noqa: E402
from factory.store.where import Where  # noqa: E402
from tests.support import small  # noqa: E402

OLD = str(Path(__file__).with_name("old_data_set"))
fill = small.fill


def fill_and_measure(record, size, people=1):
    """As the stages that compute them would."""
    fill(record, size, people)
    record.measure(contrast=record.final.std())
    for person in record.people:
        person.measure(reach=0.5)


def said_of(condition: str) -> str:
    try:
        Where(condition, SCHEMA)
    except UserError as error:
        return str(error)
    return "nothing"


small.fill = fill_and_measure
job = JobSpec.model_validate_json(Path(sys.argv[1]).read_text())
small.make(job)
data = open_data(job.output)
sample = data.sample_files(next(row for row in data.rows.to_pylist() if row["size"]))
older = open_data(OLD)  # whose samples have neither metric
old_sample = older.sample_files(next(row for row in older.rows.to_pylist() if row["size"]))
command = CliRunner()
report.write_report(open_data(job.output))
card.write_card(open_data(job.output))
print(
    json.dumps(
        {
            "columns of the index": " ".join(data.rows.column_names),
            "json of a sample": sample["json"].decode(),
            "arrays of smpl.npz": " ".join(np.load(io.BytesIO(sample["smpl.npz"])).files),
            "schema of a sample": texts()["sample"],
            "schema of a job": texts()["job"],
            "stats": command.invoke(app, ["stats", job.output]).stdout,
            "stats --json": command.invoke(app, ["stats", job.output, "--json"]).stdout,
            "report": Path(job.output, "report.html").read_text("utf-8"),
            "card": Path(job.output, "README.md").read_text("utf-8"),
            "hint of --where": said_of("contrsat > 1"),
            "verify": repr(verify(job.output)),
            "samples that fit": int(Where("contrast > 0 and con < 255", SCHEMA)(data.rows).sum()),
            "older data set": repr(verify(OLD)),
            "its column": older.rows["contrast"].to_pylist(),
            "its sample": decode_json(old_sample["json"]).model_dump()["contrast"],
            "its people": str(decode_people(old_sample["smpl.npz"])["reach"]),
            "exported of it": len(ExportSource(older).choose({"train": 1.0}, None)["train"]),
            "exported": len(ExportSource(data).choose({"train": 1.0}, "contrast > 0")["train"]),
        }
    )
)

"""The JSON Schemas under schemas/: for job files and experiment files, used by editors, and for the json of a sample,
for its readers."""

from __future__ import annotations

import json
from pathlib import Path


def texts() -> dict[str, str]:
    """'job', 'experiment' and 'sample' -> text of the JSON Schema."""
    from pydantic import BaseModel

    from factory.experiment.spec import ExperimentSpec
    from factory.job import JobSpec
    from factory.store.sample import SampleJson

    models: dict[str, type[BaseModel]] = {"job": JobSpec, "experiment": ExperimentSpec, "sample": SampleJson}
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: json.dumps(draft | model.model_json_schema(), indent=2) + "\n" for name, model in models.items()}


def write_schema(folder: str | Path) -> list[Path]:
    """Write all schemas as NAME.schema.json into the folder; returns their paths."""
    paths = []
    for name, text in texts().items():
        path = Path(folder) / f"{name}.schema.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths

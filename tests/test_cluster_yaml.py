"""cluster.yaml must be what `ray up` of the installed Ray accepts."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.support.command import ROOT


def cluster() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def schema() -> dict:
    ray = pytest.importorskip("ray")
    return json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())


def test_fits_the_schema_of_the_installed_ray() -> None:
    jsonschema.validate(cluster(), schema())


def test_schema_can_fail() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster() | {"max_worker": 8}, schema())


def test_passes_the_launchers_own_check() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(cluster()))


def test_nodes_run_the_pinned_ray() -> None:
    pinned = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray=="))
    assert pinned.removeprefix("ray==") in cluster()["docker"]["image"]


def test_carries_no_secret_and_no_private_files() -> None:
    assert {".venv", "out", ".git"} <= set(cluster()["rsync_exclude"])

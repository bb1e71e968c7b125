"""schemas/ is generated: it must be what the code says today, and must judge as the code does."""

import json

import jsonschema
import pytest
import yaml

from factory import schema
from tests.support.command import ROOT, Run
from tests.support.schemas import stored_schema

NAMES = ("job", "sample")


@pytest.mark.parametrize("name", NAMES)
def test_checked_in_schema_is_current(name: str) -> None:
    text = (ROOT / "schemas" / f"{name}.schema.json").read_text()
    assert text == schema.texts()[name], "run: factory schema --write schemas"


@pytest.mark.parametrize("name", NAMES)
def test_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(stored_schema(name))


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_jobs_fit_and_point_at_it(path) -> None:
    text = path.read_text()
    jsonschema.validate(yaml.safe_load(text), stored_schema("job"))
    assert text.startswith("# yaml-language-server: $schema=../schemas/job.schema.json\n")


def test_refuses_what_the_loader_refuses(values: dict) -> None:
    jsonschema.validate(values, stored_schema("job"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values | {"recrods": 4}, stored_schema("job"))


def test_command_prints_it(factory: Run) -> None:
    result = factory("schema", "sample")
    assert (result.returncode, json.loads(result.stdout)) == (0, stored_schema("sample"))


def test_unknown_schema(factory: Run) -> None:
    result = factory("schema", "jbo")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: schema jbo: there are job, experiment and sample\n"

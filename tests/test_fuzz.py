"""Whatever a job file holds: a plan, or one clear line and exit code 2."""

from __future__ import annotations

import io
import json
import math
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from factory import cli
from tests.support.command import ROOT

pytestmark = pytest.mark.heavy(1)

SCHEMA = json.loads((ROOT / "schemas" / "job.schema.json").read_text())
DEMO = (ROOT / "jobs" / "demo.yaml").read_text()
SPOILED = 25  # one value in so many is anything at all
fuzzed = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
noise = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
WORDS = (
    "starter:hmr",
    "starter:none",
    "no/such",
    "../../etc/passwd",
    "{action}",
    "{",
    "a {person} {0}",
    "\0",
    "http://x",
    "s3://",
)


@st.composite
def values(draw, schema: dict):
    """What the schema allows, mostly."""
    if draw(st.integers(0, SPOILED)) == SPOILED:
        return draw(noise)
    if "$ref" in schema:
        return draw(values(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]))
    if "anyOf" in schema:
        return draw(values(draw(st.sampled_from(schema["anyOf"]))))
    if "enum" in schema or "const" in schema:
        return draw(st.sampled_from(schema.get("enum") or [schema["const"]]))
    kind = schema.get("type")
    if kind == "object":
        fields = schema.get("properties", {})
        left_out = st.integers(0, 3 * SPOILED).map(lambda n: n == 0)
        chosen = [f for f in fields if (not draw(left_out) if f in schema.get("required", ()) else draw(st.booleans()))]
        return {name: draw(values(fields[name])) for name in chosen}
    if kind == "array":
        return draw(st.lists(values(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=3))
    if kind == "string":
        text = st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else st.text(max_size=20)
        return draw(text | st.sampled_from(WORDS))
    if kind == "integer":
        step = schema.get("multipleOf", 1)
        least, most = schema.get("minimum", 0), schema.get("maximum", 10**6)
        return draw(st.integers(math.ceil(least / step), most // step)) * step
    if kind == "number":
        return draw(st.floats(schema.get("minimum", 0), schema.get("maximum", 100)))
    return draw({"boolean": st.booleans(), "null": st.none()}.get(kind, noise))


def judge(path: Path, content: bytes) -> int:
    """The exit code of `factory plan`; anything but a plan or one clear line fails the test."""
    path.write_bytes(content)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        # no cluster is asked
        patch.setattr(sys, "argv", ["factory", "plan", str(path), "--set", "engine=inline"])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    assert code in (0, 2), err.getvalue()
    if code == 2:
        assert err.getvalue().startswith("error: ") and err.getvalue().count("\n") == 1 and not out.getvalue()
    return code


@fuzzed
@given(job=values(SCHEMA))
def test_jobs_out_of_the_schema(tmp_path, job):
    judge(tmp_path / "job.yaml", yaml.safe_dump(job, allow_unicode=True).encode("utf-8", "surrogatepass"))


@st.composite
def damaged(draw) -> str:
    """The demo with some of its text replaced."""
    text = DEMO
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        to = at + draw(st.integers(0, 12))
        text = (
            text[:at]
            + draw(st.text(max_size=6) | st.sampled_from(["\n", ": ", "- ", "[", "{", "&a ", "*a", "!!", "? "]))
            + text[to:]
        )
    return text


@fuzzed
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | damaged().map(str.encode))
@example(b"[" * 5000)
@example(b"records: " + b"9" * 5000)
@example(b"records: 2026-99-99")
@example(b"records: !!int x")
@example(b"a: !!timestamp x")
@example(b"!!set {a, b}")
@example(b"records: !!binary '*'")
@example(b"a: &a [*a]\n<<: *a")
@example(b"? [a]\n: b")
@example(b"seed: 1:99:99999999999999999999999")
@example(b"records: .inf")
def test_noise(tmp_path, content):
    judge(tmp_path / "job.yaml", content)


def test_the_judge_knows_a_plan(tmp_path):
    assert judge(tmp_path / "job.yaml", DEMO.encode()) == 0

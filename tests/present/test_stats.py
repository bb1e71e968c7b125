"""Figures are held against counts made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from factory.errors import UserError
from factory.job import JobSpec
from factory.metrics import of_images
from factory.present.stats import BINS, action, bars, collect, distribution, show_stats
from factory.store.dataset import open_data
from tests.support import small
from tests.support.command import Run


@pytest.fixture
def job(values: dict) -> JobSpec:
    values = {**values, "records": 12, "image_size": 64, "samples_per_shard": 4}
    job = JobSpec.model_validate(values)
    small.make(job, units=5, rejected=(3, 6), two=(1, 2))
    return job


def test_counts(job):
    found = collect(open_data(job.output))
    assert (found.planned, found.states, found.reasons) == (
        12,
        {"ok": 8, "rejected": 2},
        {"no person": 1, "too small": 1},
    )
    assert (found.people, found.refined) == ({1: 6, 2: 2}, 8)
    rows = [row for row in open_data(job.output).rows.to_pylist() if row["size"]]
    diving = sum(row["people"] for row in rows if row["prompt"].endswith("diving"))
    assert found.actions == {"diving": diving, "walking": 10 - diving}
    oks = found.measures["oks"]
    assert sum(oks.counts) == 8 and oks.missing == 0
    assert oks.mean == pytest.approx(np.mean([row["oks"] for row in rows]), abs=1e-4)
    assert oks.median == pytest.approx(np.median([row["oks"] for row in rows]), abs=1e-4)


def test_a_condition(job):
    rows = [row for row in open_data(job.output).rows.to_pylist() if row["size"]]
    assert collect(open_data(job.output), "score > 30").images == sum(row["pose_score"] > 30 for row in rows)
    assert collect(open_data(job.output), "state = 'rejected'").states == {"rejected": 2}
    with pytest.raises(UserError, match="unknown column"):
        collect(open_data(job.output), "nonsense = 1")


def test_distributions_at_the_borders():
    one = distribution(np.array([0.0, 0.05, 1.0, 1.0, np.nan]), 1.0)
    assert (one.counts[0], one.counts[1], one.counts[-1], one.missing) == (1, 1, 2, 1)
    beyond = distribution(np.array([500.0]), 300.0)
    assert beyond.counts == [0] * (BINS - 1) + [1] and beyond.mean == 500
    nothing = distribution(np.array([]), 1.0)
    assert nothing.mean is None and not any(nothing.counts)


def test_the_longer_action_is_meant():
    assert action("a photo of an athlete doing pole vault", ["vault", "pole vault"]) == "pole vault"
    assert action("something else", ["vault"]) == "something else"
    assert action("", ["vault"]) == "no prompt"


def test_bars_show_whatever_is_there():
    assert bars([0, 1, 1000]) == " ▁█" and bars([0, 0]) == "  "


def test_tables_side_by_side(job, values, tmp_path):
    other = JobSpec.model_validate({**values, "records": 2, "output": str(tmp_path / "b")})
    small.make(other, rejected=(0, 1))
    console = Console(width=160, record=True, file=open("/dev/null", "w"))
    show_stats(console, [collect(open_data(job.output)), collect(open_data(other.output))])
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["ok", "8", "0"] in lines and ["planned", "12", "2"] in lines and ["2", "2", "0"] in lines
    first, second = (lines[lines.index(["oks"]) + i] for i in (1, 2))
    assert first[0] == job.output and second[:5] == [other.output, "-", "-", "-", "-"]


def test_no_figure_is_cut_on_a_narrow_terminal(job):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))
    show_stats(console, [collect(open_data(job.output))] * 2)
    lines = [line for line in console.export_text().splitlines() if line.startswith("  ") and "█" in line]
    assert len(lines) == 2 * len(of_images()) and all(line.rstrip().endswith(("1", "+")) for line in lines)


def test_the_command(job, factory: Run):
    result = factory("stats", job.output, "--json", "--where", "people = 2")
    (told,) = json.loads(result.stdout)
    assert told["states"] == {"ok": 2} and len(told["measures"]["oks"]["counts"]) == BINS
    result = factory("stats", job.output)
    assert "silhouette_iou" in result.stdout and "rejected" in result.stdout
    assert not any(line.startswith("error") for line in result.stdout.splitlines()) and result.returncode == 0

"""`factory experiment`: a table from its file, resumed where it stopped, and what users are told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.experiment.paper import paper_table
from factory.experiment.run import chosen_steps, run_experiment
from factory.experiment.steps import load_experiment
from tests.support.command import ROOT, Run, refused

pytestmark = pytest.mark.heavy(8)
CELLS = 1 + 2 * 2 * 2  # none, and two methods with two shares and two seeds


def results(out: Path) -> dict[str, dict]:
    return {
        str(path.parent.relative_to(out / "cells")): json.loads(path.read_text()) for path in out.rglob("result.json")
    }


def test_a_table_is_computed_and_nothing_is_done_twice(factory: Run, written: Callable[..., Path], tmp_path: Path):
    file = written(seeds=[0, 1])
    done = factory("experiment", file, "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    rows = {row["key"]: row for row in table["rows"]}
    assert rows["ours"]["cells"] == [4, 4] and rows["none"]["cells"] == [1, 1]
    assert set(rows["2d"]["ours"]) == {"MPJPE/0.5", "PA-MPJPE/0.5", "MPJPE/1", "PA-MPJPE/1"}
    assert set(rows["none"]["ours"]) == {"MPJPE/0", "PA-MPJPE/0"} and rows["none"]["paper"]["MPJPE/0"] == 225.1
    both = rows["2d"]["ours"]["MPJPE/1"]
    assert set(both["by_seed"]) == {"0", "1"} and both["value"] == pytest.approx(sum(both["by_seed"].values()) / 2)
    assert rows["controlnet"]["missing"] == "nothing draws from keypoints here"
    assert {gain["row"] for gain in table["gains"]} == {"ours"} and table["baseline"] == "2d"
    found = results(tmp_path / "out")
    assert len(found) == CELLS and found["ours/share-50/seed-1"]["asked"]["share"] == 0.5
    assert not list((tmp_path / "out").rglob("checkpoint.pt")), "a done cell keeps its weights alone"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("result.json")}
    again = factory("experiment", file)
    assert again.returncode == 0 and f"{CELLS} of {CELLS} steps are done already" in again.stdout
    for words in ("not trained", "paper: Diffusion-HPC", "116.5", "arXiv 2303.09541v2, Table 2", "ours against 2d"):
        assert words in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in before}
    page = (tmp_path / "out" / "table.html").read_text()
    assert "not trained" in page and "116.5" in page and "<svg" in page and "http://" not in page


def test_a_killed_run_goes_on_within_the_cell_and_ends_with_the_same_figures(
    written: Callable[..., Path], factory: Run, tmp_path: Path
):
    changes = {"seeds": [0], "steps": 16, "every": 2}
    file = written(**changes)
    whole = factory("experiment", file, "--cell", "ours/share-100", "--set", f"output={tmp_path / 'whole'}")
    assert whole.returncode == 3, whole.stderr  # other cells are not done
    out, cell = tmp_path / "killed", "ours/share-100/seed-0"
    command = [sys.executable, "-m", "factory.cli", "experiment", str(file), "--cell", cell, "--set", f"output={out}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None and not (out / "cells" / cell / "checkpoint.pt").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "cells" / cell / "result.json").exists()
    resumed = factory("experiment", file, "--cell", cell, "--set", f"output={out}")
    assert "resumed after step" in resumed.stdout, resumed.stdout
    one, other = results(tmp_path / "whole")[cell], results(out)[cell]
    assert one["figures"] == other["figures"] and one["training"] == other["training"]


def test_a_cell_that_another_process_works_on_is_left_to_it(written: Callable[..., Path], tmp_path: Path):
    experiment = load_experiment(written(seeds=[0]))
    steps = chosen_steps(experiment, ["none", "2d/share-100"])
    with experiment.workspace.claim("2d/share-100/seed-0") as mine:
        assert mine
        outcome = run_experiment(experiment, steps, lambda line: None)
    assert outcome.elsewhere == ["2d/share-100/seed-0"] and outcome.done == 1


def test_parts_share_the_cells_and_need_the_same_data(written: Callable[..., Path], values: dict, tmp_path: Path):
    values["data"] = {"r": {"job": str(Path("../job.yaml"))}}
    values["estimators"]["methods"]["ours"]["data"] = ["r"]
    (tmp_path / "jobs").mkdir()
    (tmp_path / "job.yaml").write_text((ROOT / "jobs" / "demo.yaml").read_text())
    file = written(data=values["data"]).rename(tmp_path / "jobs" / "tiny.yaml")
    experiment = load_experiment(file)
    parts = [chosen_steps(experiment, part=(number, 3)) for number in (1, 2, 3)]
    names = [step.name for part in parts for step in part if step.cell]
    assert sorted(names) == sorted(step.name for step in experiment.steps if step.cell)
    for part in parts:
        assert ("data/r" in [step.name for step in part]) == any("data/r" in step.needs for step in part)


def test_what_cannot_be_done_says_why_and_the_rest_goes_on(factory: Run, written: Callable[..., Path], values: dict):
    values["estimators"]["methods"]["ours"]["data"] = ["nowhere.npz"]
    done = factory("experiment", written(seeds=[0]), "--set", "estimators.shares=[1]")
    assert done.returncode == 1
    assert "ours: missing: nowhere.npz: no such file" in done.stdout
    assert "not trained" in done.stdout and "2d" in done.stdout


def test_results_of_other_settings_are_never_taken(factory: Run, written: Callable[..., Path]):
    file = written(seeds=[0])
    assert factory("experiment", file, "--cell", "2d/share-100").returncode == 3
    again = factory("experiment", file, "--cell", "2d", "--set", "steps=3")
    refused(again, "computed with other settings (steps was 2 and is 3)", "--set output=DIR")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sed=1", "did you mean 'seeds'?"),
        ("estimators.methods.ours.stepps=1", "did you mean 'steps'?"),
        ("estimators.methods.2d.data=[x]", "takes no data"),
        ("seeds=[1,1]", "seeds: one is given twice"),
        ("table=3", "table 3 is one of images"),
        ("estimators.real='smart:{domain}'", "{domain} is named, and domain is missing"),
        ("data.r.job=/etc/passwd", "is no path of a file near the experiment file"),
        ("output=s3://bucket/x", "an experiment is written to a folder"),
    ],
)
def test_wrong_files_are_refused_in_one_line(factory: Run, written: Callable[..., Path], override: str, words: str):
    if override.startswith("data"):
        override = "data={r: {job: /etc/passwd}}"
    refused(factory("experiment", written(), "--set", override), words)


def test_wrong_words_are_refused_in_one_line(factory: Run, written: Callable[..., Path], tmp_path: Path):
    refused(factory("experiment", tmp_path / "tinny.yaml"), "no such experiment file")
    refused(factory("experiment", written(), "--cell", "theirs"), "no step is called so", "2d/share-50/seed-0")
    refused(factory("experiment", written(), "--part", "3/2"), "--part 1/4")


def test_check_names_what_is_missing_with_its_source_and_licence(factory: Run):
    done = factory("experiment", ROOT / "jobs" / "experiments" / "paper-table1-smart.yaml", "--check")
    assert done.returncode == 1
    for words in (
        "model_checkpoint.pt from SPIN",
        "non-commercial",
        "SMART, from the authors of SportsCap",
        "SMPL_NEUTRAL",
    ):
        assert words in done.stdout, words
    assert not Path("out/experiments/paper-table1-smart").exists()


@pytest.mark.parametrize(
    "file", sorted((ROOT / "jobs" / "experiments").glob("*table*.yaml")), ids=lambda path: path.stem
)
def test_every_experiment_in_the_repository_loads(file: Path):
    experiment = load_experiment(file)
    assert [step for step in experiment.steps if step.cell]
    spec = experiment.spec
    paper = paper_table(spec.table, spec.part)
    rows = (spec.estimators.methods if spec.estimators else spec.images.rows).values()  # type: ignore[union-attr]
    assert {row.paper for row in rows if row.paper} <= set(paper.rows)

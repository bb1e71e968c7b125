"""One table names the metrics, and everything that shows metrics follows it."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from factory.job import JobSpec
from factory.metrics import METRICS, computed_by, measured, of_images, of_people
from factory.record import Record, Unit
from factory.stages.estimate import Estimate
from factory.stages.render import Render
from factory.stages.score import Score
from factory.store.index import SCHEMA
from factory.store.sample import PERSON_ARRAYS
from tests.support import records
from tests.support.command import ROOT, needs_weights

pytestmark = pytest.mark.heavy(15)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a factory whose table has two metrics more says of a data set."""
    folder = tmp_path_factory.mktemp("metrics")
    stages = {"estimate": {"hmr": {"model": "-"}, "prior": {"model": "-"}, "detector": {"model": "-"}}}
    stages |= {"generate": {"model": "-"}, "refine": {"model": "-"}}
    job = JobSpec.model_validate(
        {
            "name": "small", "output": str(folder / "out"), "records": 4, "image_size": 64, "unit_size": 2,
            "samples_per_shard": 4, "engine": "inline", "prompts": {"action": ["walking"]}, "stages": stages,
            "body": {"model": "starter:body", "name": "open-body"},
        }
    )  # fmt: skip
    path = folder / "job.json"
    path.write_text(job.model_dump_json())
    command = [sys.executable, "-m", "tests.support.two_more_metrics", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_metric_that_is_added_to_the_table_is_shown_everywhere(shown):
    places = ["columns of the index", "json of a sample", "schema of a sample", "schema of a job", "stats",
              "stats --json", "report", "card"]  # fmt: skip
    assert [place for place in places if "contrast" not in shown[place]] == []
    assert "did you mean contrast?" in shown["hint of --where"]
    assert shown["samples that fit"] == shown["exported"] == 3
    about = "How much the pixels of the final image differ. From 0 up, in levels; higher is better."
    assert all(about in shown[place] for place in ("schema of a sample", "report", "card"))


def test_a_data_set_that_is_older_than_a_metric_is_read_all_the_same(shown):
    assert "broken={}" in shown["older data set"]
    assert set(shown["its column"]) == {None} and shown["its sample"] is None and "nan" in shown["its people"]
    assert shown["exported of it"] > 0


def test_a_metric_of_people_alone_is_an_array_and_no_column(shown):
    assert "reach" in shown["arrays of smpl.npz"] and "`reach`" in shown["card"]
    places = ["columns of the index", "json of a sample", "schema of a sample", "stats", "hint of --where"]
    assert not any("reach" in shown[place] for place in places)


def test_data_with_the_metrics_added_are_sound(shown):
    assert "broken={}" in shown["verify"]


def test_the_order_that_readers_of_earlier_data_sets_rely_on():
    assert list(METRICS) == [
        "pose_score", "silhouette_iou", "silhouette_iou_initial", "oks", "oks_initial", "reestimate_pa_mpjpe",
        "visible_share", "frame_share",
    ]  # fmt: skip
    assert [name for name in SCHEMA.names if name in METRICS] == [metric.name for metric in of_images()]
    assert SCHEMA.names[13:16] == ["pose_score", "people", "silhouette_iou"]
    assert list(PERSON_ARRAYS)[11:] == [
        "detection_score", "pose_score", "visible_share", "oks", "oks_initial", "reestimate_pa_mpjpe",
    ]  # fmt: skip


def test_the_table_holds_together():
    for name, metric in METRICS.items():
        assert name == metric.name and metric.doc.endswith(".") and metric.low < metric.plot_to <= metric.high
        assert metric.per_image or metric.per_person
        assert not metric.initial or metric.initial in METRICS
    names = [*METRICS, *(metric.short.lower() for metric in METRICS.values() if metric.short.lower() not in METRICS)]
    assert len(names) - names.count("") == len(set(names) - {""})


@needs_weights
def test_each_stage_computes_the_metrics_that_the_table_gives_it(values):
    changes = {"estimate": {"hmr": {"model": "starter:hmr"}, "prior": {"model": "starter:vposer"},
                            "detector": {"model": "starter:detector"}, "easy": "refine"},
               "render": {"min_coverage": 0.0, "min_inside": 0.0}}  # fmt: skip
    job = JobSpec.model_validate({**values, "image_size": 64, "stages": {**values["stages"], **changes}})
    estimated = Estimate(job)(Unit(0, 0, [records.record(i) for i in range(4)]))
    one = next(done for done in estimated.records if done.people)
    known: set[str] = set()
    of_a_person = {metric.name for metric in of_people()}
    for stage in (Estimate, Render, Score):
        if stage is not Estimate:
            one.final, one.refined = one.initial, True
            stage(job)(Unit(0, 0, [one]))
            assert one.active, one.error or one.reason
        known |= set(computed_by(stage.name))
        missing = {"oks", "oks_initial"}  # no joint of the label lies in the image: neither has a value
        assert known - missing <= one.metrics.keys() <= known
        for person in one.people:
            assert (known & of_a_person) - missing <= person.metrics.keys() <= known & of_a_person
    for name, value in [*one.metrics.items(), *(item for person in one.people for item in person.metrics.items())]:
        assert METRICS[name].low <= value <= METRICS[name].high, name


def test_what_cannot_be_measured_is_absent_and_replaces_what_was_measured_before():
    before = {"oks": 0.5, "frame_share": 0.1}
    assert measured(before, {"oks": None}) == measured(before, {"oks": math.nan}) == {"frame_share": 0.1}
    assert before == {"oks": 0.5, "frame_share": 0.1}


def test_a_metric_that_is_not_in_the_table_is_refused():
    with pytest.raises(KeyError, match="okes"):
        Record("a", 1, "").measure(okes=0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_always_has_a_value_takes_no_other(value):
    with pytest.raises(ValueError, match="pose_score is not finite"):
        Record("a", 1, "").measure(pose_score=value)


def test_metrics_cross_borders_of_processes_with_their_unit():
    one, body = Record("a", 1, ""), records.person()
    one.measure(oks=0.25, pose_score=3)
    body.measure(visible_share=0.5)
    one.people = [body, records.person()]
    (back,) = Unit.from_bytes(Unit(0, 0, [one]).to_bytes()).records
    assert back.metrics == {"oks": 0.25, "pose_score": 3.0}
    assert [person.metrics for person in back.people] == [{"visible_share": 0.5}, {}]
    assert (back.people[0].K == body.K).all()

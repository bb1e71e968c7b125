"""Scores are held against what is known: a label that is the estimate itself, an image that is the same, none."""

from dataclasses import replace

import numpy as np
import pytest

from factory.engine.run import default_stages
from factory.record import Unit
from factory.stages.estimate import Estimate
from factory.stages.render import Render
from factory.stages.score import Score
from tests.support.records import SIZE, person, record

LENIENT = {"estimate": {"easy": "refine", "max_people": 2}, "render": {"min_coverage": 0.0, "min_inside": 0.0}}


def scored(spec, *records):
    return Score(spec)(Unit(0, 0, list(records))).records


def labelled(spec, count: int = 1):
    """Records whose label is what the estimator says of the box that the label carries."""
    done = Estimate(spec)(Unit(0, 0, [record(i) for i in range(count)])).records
    for one in done:
        one.final, one.refined = one.initial, True
        one.depth = one.person_mask.astype(np.float32)
        for body in one.people:
            x, y, half = body.crop[0], body.crop[1], body.crop[2] / (2 * spec.stages.estimate.hmr.crop_scale)
            body.bbox = np.array([x - half, y - half, x + half, y + half], np.float32)
            body.joints2d[:, 2] = 1
    return done


def test_an_estimate_agrees_with_itself(job):
    for done in scored(job(**LENIENT), *labelled(job(**LENIENT), 2)):
        assert done.active
        names = ("oks", "oks_initial", "silhouette_iou_initial")
        assert [done.metrics[name] for name in names] == [1, 1, 1]
        assert all((body.metrics["oks"], body.metrics["oks_initial"]) == (1, 1) for body in done.people)
        assert done.metrics["reestimate_pa_mpjpe"] < 0.02
        assert done.metrics["silhouette_iou"] == 1  # the detector says of the same image what it said before


def test_another_final_image_agrees_less(job):
    first, second = labelled(job(**LENIENT), 2)
    first.final = second.final = np.full_like(first.initial, 255)
    second.refined = False  # what it calls final is not looked at
    for joint in first.people[0].joints2d:
        joint[0] += 3  # a label that is off by 3 px, in both images
    first, second = (done.metrics for done in scored(job(**LENIENT), first, second))
    assert first["reestimate_pa_mpjpe"] > second["reestimate_pa_mpjpe"] and first["silhouette_iou"] < 1
    assert first["oks_initial"] < 0.9 and first["oks"] != first["oks_initial"] and first["silhouette_iou_initial"] == 1
    assert all(second[name] == second[f"{name}_initial"] == 1 for name in ("oks", "silhouette_iou"))


def test_the_silhouette_leaves_out_what_objects_hide(job):
    (done,) = labelled(job(**LENIENT))
    done.silhouette = np.ones((SIZE, SIZE), bool)
    done.depth = np.where(np.arange(SIZE) < SIZE // 2, done.person_mask, 0).astype(np.float32)
    (done,) = scored(job(**LENIENT), done)
    expected = done.person_mask[:, : SIZE // 2].sum() / done.person_mask.sum()
    assert done.metrics["silhouette_iou_initial"] == pytest.approx(expected, abs=1e-4)


def test_records_beside_each_other_do_not_mix(job):
    many = labelled(job(**LENIENT), 3)
    many[0].final = many[1].final = many[2].initial
    alone = [scored(job(**LENIENT), one)[0] for one in labelled_again(many)]
    for one, other in zip(scored(job(**LENIENT), *many), alone, strict=True):
        assert one.metrics == pytest.approx(other.metrics, abs=0.01)


def labelled_again(records):
    from factory.stages.sift import twin

    return [twin(one) for one in records]


def test_labels_out_of_the_frame_have_no_oks(job):
    (done,) = labelled(job(**LENIENT))
    for body in done.people:
        body.joints2d[:, 2] = 0
    (done,) = scored(job(**LENIENT), done)
    assert not {"oks", "oks_initial"} & done.metrics.keys()
    (body,) = done.people
    assert "oks" not in body.metrics
    assert body.metrics["reestimate_pa_mpjpe"] == done.metrics["reestimate_pa_mpjpe"]


def test_each_person_has_its_own_part_of_the_figures(job):
    """Two people in one image, the label of the second off by 3 px."""
    (done,) = labelled(job(**LENIENT))
    other = replace(done.people[0], joints2d=done.people[0].joints2d + np.array([3, 0, 0], np.float32))
    done.people = [done.people[0], other]
    (done,) = scored(job(**LENIENT), done)
    right, wrong = (body.metrics for body in done.people)
    assert right["oks"] == 1 and wrong["oks"] < 0.9
    assert wrong["reestimate_pa_mpjpe"] == right["reestimate_pa_mpjpe"] < 0.02
    assert done.metrics["oks"] == pytest.approx((right["oks"] + wrong["oks"]) / 2, abs=1e-4)


def test_the_stage_can_be_left_out(job):
    assert default_stages(job())[-1] is Score
    assert Score not in default_stages(job(score={"enabled": False}))


def test_shares_of_body_and_frame(job):
    """A body, half of it behind an object, half of it out of the frame, and one behind another."""
    left = np.zeros((SIZE, SIZE), bool)
    left[:, : SIZE // 2] = True
    spec = job(**LENIENT)
    records = [
        Render(spec)(Unit(0, 0, [one])).records[0]
        for one in (
            record(people=[person()]),
            record(people=[person()], object_mask=left),
            record(people=[person(x=-1.2)]),
            record(people=[person(), person(z=60.5)]),
        )
    ]
    whole, hidden, cut, both = (done.metrics for done in records)
    assert whole["visible_share"] == 1
    assert whole["frame_share"] == round(float(records[0].silhouette.mean()), 4) > 0.02
    assert hidden["visible_share"] == pytest.approx(0.5, abs=0.1) and hidden["frame_share"] == whole["frame_share"]
    assert 0.2 < cut["visible_share"] < 0.8 and cut["frame_share"] < whole["frame_share"]
    assert both["visible_share"] == pytest.approx(0.5, abs=0.1)  # the mean of 1 and almost 0
    front, behind = (body.metrics["visible_share"] for body in records[3].people)
    assert front == 1 and behind < 0.2 and both["visible_share"] == pytest.approx((front + behind) / 2, abs=1e-4)


class Blind:
    """An estimator of whole images that sees nobody in dark ones, as bev does."""

    def __init__(self, seeing) -> None:
        self.seeing = seeing

    def estimate(self, images, boxes):
        if any(image.mean() < 50 for image in images):
            raise ValueError("nobody is found")
        return self.seeing.estimate(images, boxes)


def test_nobody_found_costs_the_figure_and_not_the_sample(job):
    first, second = labelled(job(**LENIENT), 2)
    first.final = np.zeros_like(first.initial)
    stage = Score(job(**LENIENT))
    stage(Unit(0, 0, []))  # sets it up
    stage.hmr = Blind(stage.hmr)
    done = stage(Unit(0, 0, [first, second])).records
    dark, light = (record.metrics for record in done)
    assert done[0].active and not {"oks", "reestimate_pa_mpjpe"} & dark.keys() and dark["oks_initial"] == 1
    assert (light["oks"], light["oks_initial"]) == (1, 1)

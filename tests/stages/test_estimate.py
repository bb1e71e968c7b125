from dataclasses import replace

import numpy as np
import pytest
import torch

from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import CROP, FOCAL, project
from factory.record import Unit
from factory.stages.estimate import Estimate
from factory.weights.locate import resolve
from tests.support.records import SIZE, record


def run(spec, count: int = 2):
    return Estimate(spec)(Unit(0, 0, [record(i) for i in range(count)])).records


def test_everybody_found_is_labelled(job):
    for done in run(job(estimate={"easy": "refine"})):
        assert done.active and done.people
        assert done.person_mask.shape == done.object_mask.shape == (SIZE, SIZE) and done.person_mask.any()
        scores = [person.detection_score for person in done.people]
        assert scores == sorted(scores, reverse=True)
        assert done.metrics["pose_score"] == max(person.metrics["pose_score"] for person in done.people) > 0


def test_a_label_is_one_geometry(job):
    """Pose, translation and K give the 3D joints, these the 2D ones, and the box holds the body."""
    body = BodyModel(resolve("starter:body"))
    for person in run(job())[0].people:
        pose = (person.global_orient, person.body_pose, person.betas, person.transl)
        vertices, joints = body(*(torch.from_numpy(value)[None] for value in pose))
        joints = spin49(joints)[0]
        np.testing.assert_allclose(person.joints3d[:, :3], joints, atol=1e-4)
        assert (person.joints3d[:, 3] == 1).all()
        pixels = project(joints, torch.from_numpy(person.K)).numpy()
        np.testing.assert_allclose(person.joints2d[:, :2], pixels, atol=0.02)
        np.testing.assert_array_equal(person.joints2d[:, 2], ((pixels >= 0) & (pixels < SIZE)).all(1))
        outline = project(vertices[0], torch.from_numpy(person.K)).numpy().clip(0, SIZE)
        np.testing.assert_allclose(person.bbox, [*outline.min(0), *outline.max(0)], atol=0.02)
        s, x, y = person.camera
        assert person.transl[2] == pytest.approx(2 * FOCAL * SIZE / CROP / (s * person.crop[2]), rel=1e-4)
        centre = person.crop[:2] + person.crop[2] / 2 * s * np.array([x, y])  # where the weak camera puts the origin
        origin = project(torch.from_numpy(person.transl), torch.from_numpy(person.K))
        np.testing.assert_allclose(origin, centre, atol=0.02)


def test_bodies_are_moved_onto_their_people_on_request(job):
    for before, after in zip(run(job()), run(job(estimate={"hmr": {"align": True}})), strict=True):
        assert len(before.people) == len(after.people)
        for old, new in zip(before.people, after.people, strict=True):
            np.testing.assert_array_equal(old.body_pose, new.body_pose)
    assert any((a.camera != b.camera).any() for a, b in zip(before.people, after.people, strict=True))


def test_no_more_people_than_asked_for_the_best_first(job, monkeypatch):
    monkeypatch.setattr("factory.models.detectors.base.DUPLICATE", 1.0)  # random masks overlap
    everybody, best = run(job())[0].people, run(job(estimate={"max_people": 1}))[0].people
    assert len(everybody) > 1 and len(best) == 1
    assert best[0].detection_score == everybody[0].detection_score


def test_nobody_found(job):
    for done in run(job(estimate={"detector": {"threshold": 1.0}})):
        assert (done.state, done.reason, done.stage) == ("rejected", "no person", "estimate")
        assert done.people == [] and not done.person_mask.any()


@pytest.mark.parametrize(("easy", "tau", "state"), [
    ("drop", 1e9, "rejected"),
    ("drop", 0.0, "pending"),
    ("keep", 1e9, "pending"),
    ("refine", 1e9, "pending"),
])  # fmt: skip
def test_easy_poses_are_treated_as_the_job_says(job, easy, tau, state):
    for done in run(job(estimate={"easy": easy, "prior": {"tau": tau}})):
        assert done.state == state and done.people
        assert done.reason == ("easy" if state == "rejected" else "")


def test_scores_do_not_depend_on_the_batch(job):
    together, alone = run(job())[1], Estimate(job())(Unit(0, 0, [record(1)])).records[0]
    assert [person.metrics["pose_score"] for person in together.people] == pytest.approx(
        [person.metrics["pose_score"] for person in alone.people], rel=1e-4
    )


def test_a_record_without_an_image_fails_alone(job):
    unit = Estimate(job())(Unit(0, 0, [record(0), record(1, initial=None)]))
    assert [done.state for done in unit.records] == ["pending", "failed"]


class Plugin:
    """An estimator of another package that answers one image of the batch wrongly."""

    finds = False

    def __init__(self, hmr, wrong) -> None:
        self.hmr, self.wrong = hmr, wrong

    def estimate(self, images, boxes):
        answer = []
        for image, people in zip(images, self.hmr.estimate(images, boxes), strict=True):
            if (image == record(1).initial).all():
                wrong = {name: np.stack([value] * len(people)) for name, value in self.wrong.items()}
                answer.append(replace(people, **wrong))
            else:
                answer.append(people)
        return answer


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"camera": np.full(3, np.nan, np.float32)}, "camera is not finite (it holds nan)"),
        ({"betas": np.full(10, np.inf, np.float32)}, "betas is not finite (it holds inf)"),
        ({"betas": np.full(10, 1e38, np.float32)}, "pose, betas and camera make a body that is not finite"),
        ({"body_pose": np.zeros(69, np.complex64)}, "body_pose is of type complex64, not float32"),
        ({"body_pose": np.zeros(69, "M8[s]")}, "body_pose is of type datetime64[s], not float32"),
    ],
)
def test_a_plug_ins_wrong_answer_fails_that_record_and_says_why(job, wrong, error):
    stage = Estimate(job())
    stage(Unit(0, 0, []))  # sets it up
    stage.hmr = Plugin(stage.hmr, wrong)
    sound, failed, other = stage(Unit(0, 0, [record(i) for i in range(3)])).records
    assert sound.active and other.active and sound.people and other.people
    assert (failed.state, failed.reason, failed.stage) == ("failed", "", "estimate")
    assert error in failed.error and "BadAnswer" in failed.error


@pytest.mark.parametrize(
    ("part", "words"), [("detector", "detector's network gives what is not finite"), ("prior", "nan")]
)
def test_a_network_that_gives_nan_fails_and_does_not_find_nobody(job, part, words):
    stage = Estimate(job())
    stage(Unit(0, 0, []))  # sets it up
    for parameter in getattr(stage, part).network.parameters():
        torch.nn.init.constant_(parameter, torch.nan)
    (done,) = stage(Unit(0, 0, [record(0)])).records
    assert done.state == "failed" and words in done.error

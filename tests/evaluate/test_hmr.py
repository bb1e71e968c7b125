"""`factory evaluate hmr`: estimators whose errors are known, and the real command on every kind of data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from factory.errors import UserError
from factory.evaluate.bodies import MeasuredBody
from factory.evaluate.hmr import EVERYBODY, EstimatorFigures, evaluate_estimator
from factory.evaluate.hmr_pictures import fitted_camera, ranked, write_pictures
from factory.geometry.camera import full_image_K, project_on_crop, transl_to_weak
from factory.geometry.joints import REGRESSOR_ROW_OF_H36M17
from factory.job import JobSpec
from factory.labelled.base import LabelledPeople
from factory.labelled.choice import open_people
from factory.models.hmr.base import BodyEstimate
from factory.store.dataset import open_data
from factory.weights.locate import resolve
from tests.support import small
from tests.support.command import Run, needs_weights, refused
from tests.support.real_layouts import make_ski, make_smart

pytestmark = needs_weights
SIZE = 64


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hmr")
    nothing = {"model": "none"}
    values = {
        "name": "people", "output": str(folder / "out"), "records": 6, "image_size": SIZE, "unit_size": 6,
        "samples_per_shard": 6, "engine": "inline", "body": {"model": "starter:body", "name": "open-body"},
        "prompts": {"action": ["vault", "diving"]},
        "stages": {
            "generate": nothing, "estimate": {"hmr": nothing, "prior": nothing, "detector": nothing},
            "refine": nothing,
        },
    }  # fmt: skip
    small.make(JobSpec.model_validate(values))
    return folder / "out"


@pytest.fixture(scope="module")
def people(out: Path) -> LabelledPeople:
    return open_people(str(out))


@pytest.fixture(scope="module")
def body() -> MeasuredBody:
    return MeasuredBody("starter:body")


class Known:
    """Answers with the true bodies, each changed by `change`; nobody where that gives None."""

    def __init__(self, out: Path, finds: bool = False, change=lambda number, estimate: estimate) -> None:
        self.finds, self.change, self.seen = finds, change, 0
        self.truth = [
            {name: array[i] for name, array in sample.people.items()}
            for sample in open_data(out).samples()
            for i in range(len(sample.people["pose"]))
        ]

    def estimate(self, images, boxes):
        answer = []
        for some in boxes:
            x0, y0, x1, y1 = some[0]
            crop = np.array([[(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0]], np.float32)
            label = {name: array[None] for name, array in self.truth[self.seen].items()}
            camera = transl_to_weak(label["transl"], crop, label["K"])
            pose = label["pose"]
            estimate = BodyEstimate(pose[:, :3], pose[:, 3:], label["betas"], camera, crop, K=label["K"][0])
            changed = self.change(self.seen, estimate)
            self.seen += 1
            if changed is None:
                raise ValueError("nobody is there")
            answer.append(changed)
        return answer


def values(found: EstimatorFigures, group: str = EVERYBODY) -> dict[str, float]:
    return {name: figure.value for name, figure in found.figures[group].items()}


def test_the_truth_has_no_error(out, people, body):
    found = values(evaluate_estimator(Known(out), body, people))
    assert list(found) == ["MPJPE", "PA-MPJPE", "PVE", "PA-PVE", "PCK", "pooled PCK", "AUC", "OKS", "OKS-AP"]
    assert max(found[name] for name in ("MPJPE", "PA-MPJPE", "PVE", "PA-PVE")) < 1e-3
    assert found["PCK"] == found["pooled PCK"] == found["OKS-AP"] == 100
    assert found["AUC"] == pytest.approx(100, abs=0.01) and found["OKS"] == pytest.approx(100, abs=0.01)


def test_a_turned_copy_is_wrong_until_it_is_aligned(out, people, body):
    def turned(number: int, estimate: BodyEstimate) -> BodyEstimate:
        orient = Rotation.from_rotvec([0, 1, 0]) * Rotation.from_rotvec(estimate.global_orient)
        return replace(estimate, global_orient=orient.as_rotvec())

    found = values(evaluate_estimator(Known(out, change=turned), body, people))
    assert found["PA-MPJPE"] < 1e-3 and found["PA-PVE"] < 1e-3
    assert found["MPJPE"] > 50 and found["PVE"] > 50


def test_figures_by_action_and_of_a_hand_made_case(out, people, body):
    """Person 0 is seen far beside where they are; everybody else is right."""

    def beside(number: int, estimate: BodyEstimate) -> BodyEstimate:
        moved = estimate.camera + np.array([[0, 0.15 * 2 / estimate.camera[0, 0], 0]]) * (number == 0)
        return replace(estimate, camera=moved)  # by 0.15 of the crop's side

    found = evaluate_estimator(Known(out, change=beside), body, people)
    known = (people.keypoints[:, 25:, 2] >= 1).sum(1)
    everybody = found.figures[EVERYBODY]
    assert everybody["PCK"].value == pytest.approx(100 * (len(people) - 1) / len(people))
    assert everybody["pooled PCK"].value == pytest.approx(100 * known[1:].sum() / known.sum())
    assert everybody["AUC"].value == pytest.approx(100 * (known[1:].sum() + 0.25 * known[0]) / known.sum(), abs=0.3)
    assert everybody["PCK"].low < everybody["PCK"].value < everybody["PCK"].high == 100
    own = people.action[0]
    other = ({"vault", "diving"} - {own}).pop()
    assert found.figures[other]["PCK"].value == 100 and found.figures[own]["PCK"].value < 100
    assert found.count == {EVERYBODY: 6, "diving": people.action.count("diving"), "vault": people.action.count("vault")}
    assert everybody["MPJPE"].value < 1e-3


def test_people_whom_the_estimator_does_not_find(out, people, body):
    found = evaluate_estimator(
        Known(out, finds=True, change=lambda number, estimate: None if number == 2 else estimate), body, people
    )
    assert found.figures[EVERYBODY]["PA-MPJPE"].count == 5
    assert found.figures[EVERYBODY]["PCK"].value == pytest.approx(100 * 5 / 6)
    assert "the estimator finds nobody in 1 of 6 crops" in found.notes[0]
    assert found.errors.estimates[2] is None and 2 not in ranked(found.errors)


def test_everybody_is_shown_in_the_square_of_the_labels(out, people, body):
    estimator, squares = Known(out), []
    inner = estimator.estimate

    def spy(images, boxes):
        squares.extend(np.concatenate(boxes))
        return inner(images, boxes)

    estimator.estimate = spy
    evaluate_estimator(estimator, body, people)
    x0, y0, x1, y1 = np.array(squares).T
    np.testing.assert_allclose(np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0], 1), people.crop, rtol=1e-5)
    np.testing.assert_allclose(x1 - x0, y1 - y0, rtol=1e-5)


# Bodies of SMPL


@pytest.fixture
def smpl(tmp_path) -> Path:
    """A file that is called as SMPL's, with J_regressor_h36m.npy beside it."""
    folder = tmp_path / "smpl"
    folder.mkdir()
    shutil.copy(resolve("starter:body"), folder / "SMPL_NEUTRAL.npz")
    rows = np.random.default_rng(0).random((17, 6890)).astype(np.float32) ** 200  # each row a few vertices
    np.save(folder / "J_regressor_h36m.npy", rows / rows.sum(1, keepdims=True))
    return folder / "SMPL_NEUTRAL.npz"


def test_joints_are_regressed_where_the_regressor_lies_beside_the_body(out, people, smpl):
    """Truth as Ski-Pose gives it: the same joints in its own order, from another origin."""
    body = MeasuredBody(str(smpl))
    assert "J_regressor_h36m.npy of the mesh, 17 rows" in body.about and not body.notes
    joints = body.regressor @ body.pose(people.pose, people.betas).vertices
    ordered = joints[:, REGRESSOR_ROW_OF_H36M17] + [1, 2, 3]
    labelled = np.concatenate([ordered, np.ones((len(people), 17, 1))], 2).astype(np.float32)
    skiers = replace(people, pose=None, betas=None, joints3d=labelled, skeleton="h36m17", body=None)
    found = evaluate_estimator(Known(out), body, skiers)
    assert values(found)["MPJPE"] < 1e-2 and "PVE" not in values(found)
    assert any("16 joints, Ski-Pose's, without the 10th" in line for line in found.methods)
    swapped = replace(skiers, joints3d=labelled[:, [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]])
    assert values(evaluate_estimator(Known(out), body, swapped))["MPJPE"] > 10


def test_truth_of_men_is_smpls_male_body(out, people, smpl):
    with np.load(smpl) as stored:
        male = {name: stored[name] for name in stored.files}
    np.savez(smpl.with_name("SMPL_MALE.npz"), **{**male, "v_template": male["v_template"] * 1.1})
    men = replace(people, gender=("m",) * 6, body=None)
    found = evaluate_estimator(Known(out), MeasuredBody(str(smpl)), men)
    assert values(found)["PVE"] > 10 and not found.notes
    smpl.with_name("SMPL_MALE.npz").unlink()
    found = evaluate_estimator(Known(out), MeasuredBody(str(smpl)), men)
    assert values(found)["PVE"] < 1e-3 and any(
        "put SMPL_MALE and SMPL_FEMALE beside it" in line for line in found.notes
    )


def test_bodies_of_another_model_are_refused(out, people, smpl, body):
    with pytest.raises(UserError, match=r"its bodies are of open-body, not of .*SMPL_NEUTRAL.npz.*--body starter:body"):
        evaluate_estimator(Known(out), MeasuredBody(str(smpl)), people)
    with pytest.raises(UserError, match="its bodies are of smpl-neutral, not of starter:body"):
        evaluate_estimator(Known(out), body, replace(people, body="smpl-neutral"))


@pytest.mark.parametrize("rows", [np.ones((19, 6890), "f4"), np.full((17, 6890), np.nan, "f4"), b"no array"])
def test_a_regressor_that_is_none(rows, smpl):
    file = smpl.with_name("J_regressor_h36m.npy")
    if isinstance(rows, bytes):
        file.write_bytes(rows)
    else:
        np.save(file, rows)
    with pytest.raises(UserError, match="J_regressor_h36m.npy"):
        MeasuredBody(str(smpl))


# The command


def as_json(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_measures_and_draws(out, tmp_path, factory: Run):
    found = as_json(
        factory("evaluate", "hmr", "starter:hmr", out, "--json", "--limit", 3, "--pictures", tmp_path / "pictures")
    )
    assert found["groups"][0]["group"] == "all" and found["groups"][0]["n"] == 3
    figure = found["groups"][0]["figures"]["PA-MPJPE"]
    assert 0 < figure["low"] <= figure["value"] <= figure["high"] and figure["unit"] == "mm" and figure["count"] == 3
    assert any("the open body's own joints" in line for line in found["methods"])
    for name in ("worst", "median", "best"):
        with Image.open(tmp_path / "pictures" / f"{name}.png") as picture:
            assert np.asarray(picture).std() > 10


def test_smart_has_pck_by_action_alone(tmp_path, factory: Run):
    make_smart(tmp_path, pixels=True)
    done = factory("evaluate", "hmr", "starter:hmr", f"smart:{tmp_path}", "--limit", 4)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.split() == ["people", "n", "PCK", "pooled", "PCK", "AUC", "OKS", "OKS-AP"] for line in lines)
    assert any(line.startswith("diving") for line in lines)
    assert "MPJPE, PA-MPJPE and PVE cannot be measured" in done.stdout and "PVE  " not in done.stdout
    assert "\x1b" not in done.stdout and done.stderr == ""


def test_skiers_have_errors_of_joints_and_pictures_of_keypoints(tmp_path, factory: Run):
    make_ski(tmp_path, pixels=True)
    done = factory(
        "evaluate", "hmr", "starter:hmr", f"skipose:{tmp_path}@train", "--json", "--pictures", tmp_path / "pictures"
    )
    assert {"MPJPE", "PA-MPJPE", "PCK"} <= as_json(done)["groups"][0]["figures"].keys()
    assert (tmp_path / "pictures" / "worst.png").is_file()


BAD = [
    ("nothing labelled is there; give a data set", ["starter:hmr", "nowhere"]),
    ("no sample fits --where 'people = 9'", ["starter:hmr", "OUT", "--where", "people = 9"]),
    ("--kind frankmocap: there are spin, bev", ["starter:hmr", "OUT", "--kind", "frankmocap"]),
    ("--body: name the body model of m.pt: SMPL_NEUTRAL.pkl", ["m.pt", "OUT"]),
    ("--body SMPL.npz: starter:hmr gives bodies of starter:body", ["starter:hmr", "OUT", "--body", "SMPL.npz"]),
    ("HMR model not found: m.pt; get model_checkpoint.pt", ["m.pt", "OUT", "--body", "starter:body"]),
    ("body model not found: SMPL_NEUTRAL.pkl; get", ["m.pt", "OUT", "--body", "SMPL_NEUTRAL.pkl"]),
    ("--device tpu", ["starter:hmr", "OUT", "--device", "tpu"]),
    ("--pictures file: is a file; name a folder", ["starter:hmr", "OUT", "--pictures", "file"]),
]


@pytest.mark.parametrize(("words", "arguments"), BAD)
def test_bad_input_of_an_evaluation_is_refused_in_one_line(words, arguments, out, tmp_path, monkeypatch, factory: Run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    refused(factory("evaluate", "hmr", *(out if each == "OUT" else each for each in arguments)), words)


def test_nothing_to_compare_with(out, people, body):
    blank = replace(people, pose=None, betas=None, joints3d=None, skeleton=None, keypoints=people.keypoints * 0)
    with pytest.raises(UserError, match="nothing to compare with: no body, no 3D joints, no J24 keypoint"):
        evaluate_estimator(Known(out), body, blank)


def test_the_camera_of_a_picture_fits_its_points():
    joints = np.random.default_rng(0).normal(0, 0.4, (49, 3)) * [1, 1, 0]
    camera = np.array([[0.8, 0.1, -0.2]])
    points = project_on_crop(joints[None], camera)[0]
    np.testing.assert_allclose(fitted_camera(joints, points, np.ones(49)), camera[0], rtol=1e-4)


def test_pictures_go_into_a_folder_that_can_be_made(out, people, body, tmp_path):
    (tmp_path / "file").touch()
    found = evaluate_estimator(Known(out), body, people)
    with pytest.raises(UserError, match="--pictures .*cannot be written"):
        write_pictures(tmp_path / "file" / "in", people, body, found.errors)


def test_a_camera_of_its_own_or_of_the_crop_gives_the_same_points(out, people, body):
    """Without K the crop is seen as SPIN trains; in the middle of the image both agree."""

    def by_crop(number: int, estimate: BodyEstimate) -> BodyEstimate:
        crop = np.array([[SIZE / 2, SIZE / 2, SIZE]], np.float32)
        K = full_image_K(SIZE, SIZE)
        truth = transl_to_weak(estimator.truth[number]["transl"][None], crop, K)
        return replace(estimate, camera=truth, crop=crop, K=None)

    estimator = Known(out, change=by_crop)
    assert values(evaluate_estimator(estimator, body, people))["AUC"] == pytest.approx(100, abs=0.05)

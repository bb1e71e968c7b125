"""What each mode changes, on tiny models with random weights."""

import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.engine.inline import compute
from factory.engine.run import default_stages
from factory.errors import UserError
from factory.job import JobSpec
from factory.job_stages import AugmentSpec
from factory.models.hmr.base import BodyEstimate
from factory.plan import plan
from factory.record import Unit
from factory.stages.augment import vary
from factory.stages.estimate import Estimate
from factory.stages.generate import Generate
from factory.stages.refine import Refine
from tests.support.records import SIZE, rendered

pytestmark = pytest.mark.heavy(1)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A list of five: two pictures, one too small, one broken, one that is not there."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, side in enumerate((80, 100, 20)):
        noise = np.random.default_rng(i).integers(0, 256, (side, 80, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    (folder / "3.png").write_bytes((folder / "1.png").read_bytes()[:200])
    (folder / "list.txt").write_text("0.png\tdiving\n1.png\tdancing\n2.png\n3.png\n4.png\n")
    return folder / "list.txt"


@pytest.fixture
def given(tmp_path) -> Path:
    """Three poses: two of picture 1, one of picture 0."""
    pose = np.random.default_rng(5).uniform(-0.4, 0.4, (3, 72)).astype(np.float32)
    pose[:, :3] = [np.pi, 0, 0]
    camera, crop = np.tile(np.float32([0.8, 0, 0]), (3, 1)), np.tile(np.float32([40, 50, 60]), (3, 1))
    names = ["1.png", "0.png", "1.png"]
    np.savez(tmp_path / "given.npz", pose=pose, betas=np.ones((3, 10)), camera=camera, crop=crop, imgname=names)
    return tmp_path / "given.npz"


def job_with(job, top: dict, **stages) -> JobSpec:
    """The job with these fields of its own and of its stages."""
    values = {**job().model_dump(mode="json"), **top}
    for stage, fields in stages.items():
        for name, value in fields.items():
            old = values["stages"][stage].get(name)
            values["stages"][stage][name] = {**old, **value} if old and isinstance(value, dict) else value
    return JobSpec.model_validate(values)


def planned(spec: JobSpec, unit: int = 0) -> Unit:
    return plan(spec).unit(0, unit)


def through(spec: JobSpec, *stages, unit: Unit | None = None) -> list:
    unit = unit or planned(spec)
    for stage in stages:
        unit = stage(spec)(unit)
    return unit.records


def real(pictures: Path, **more) -> dict:
    prompts = {"template": "a {action}", "action": ["thing"]}
    return {"images": {"kind": "list", "path": str(pictures)}, "records": 0, "unit_size": 4, "prompts": prompts, **more}


def test_real_images_take_the_place_of_stage_1(job, pictures):
    spec = job_with(job, real(pictures), generate={"model": None})
    everything = [r for i in range(2) for r in through(spec, Generate, unit=planned(spec, i))]
    assert [r.source for r in everything] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert [r.reason for r in everything] == ["", "", "small image", "broken image", "no image"]
    assert [r.prompt for r in everything[:3]] == ["a diving", "a dancing", "a thing"]  # the list knows, or else the job
    first, second = everything[:2]
    truth = np.asarray(Image.open(pictures.parent / "0.png").resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(first.initial, truth)
    np.testing.assert_array_equal(second.window, [40, 50, 80])


def test_without_text_nothing_is_said(job, pictures):
    spec = job_with(job, real(pictures, prompts={"template": ""}))
    assert {r.prompt for r in planned(spec).records} == {""}


def test_given_poses_are_the_labels(job, given):
    """From text: every row once, in the middle of the picture; no estimator is named."""
    spec = job_with(job, {"poses": {"path": str(given)}, "records": 0}, estimate={"hmr": None})
    records = [r for i in range(2) for r in through(spec, Generate, Estimate, unit=planned(spec, i))]
    with np.load(given) as file:
        assert [r.source for r in records] == ["0", "1", "2"]
        for row, r in enumerate(records):
            assert r.active and len(r.people) == 1
            person = r.people[0]
            np.testing.assert_array_equal(np.concatenate([person.global_orient, person.body_pose]), file["pose"][row])
            np.testing.assert_array_equal(person.crop, [SIZE / 2, SIZE / 2, SIZE])


def test_given_poses_find_their_image_and_their_place_in_it(job, pictures, given):
    spec = job_with(job, real(pictures, poses={"path": str(given)}))
    (pictures.parent / "4.png").write_bytes((pictures.parent / "0.png").read_bytes())
    first, second = through(spec, Generate, Estimate)[:2]
    last = through(spec, Generate, Estimate, unit=planned(spec, 1))[0]
    assert (len(first.people), len(second.people)) == (1, 2)
    assert (last.state, last.reason) == ("rejected", "no pose")
    scale = SIZE / 80  # 0.png is 80 px wide; of 1.png, 100 px high, the middle 80 are shown
    np.testing.assert_allclose(first.people[0].crop, np.array([40, 50, 60]) * scale)
    np.testing.assert_allclose(second.people[0].crop, np.array([40, 40, 60]) * scale)


@pytest.fixture
def known(tmp_path) -> str:
    """Keypoints of two people in picture 1, one of them above what is shown; none of picture 0."""
    part = np.zeros((2, 24, 3), np.float32)
    part[0, [8, 9, 2, 3], :2] = [[30, 40], [50, 40], [30, 70], [50, 70]]  # shoulders and hips, px
    part[1, [8, 9], :2] = [[30, 2], [50, 8]]
    part[..., 2] = part[..., 0] > 0
    np.savez(tmp_path / "people.npz", imgname=["1.png", "1.png"], part=part)
    return str(tmp_path / "people.npz")


def test_known_people_are_cropped_by_their_keypoints(job, pictures, known):
    images = {"kind": "list", "path": str(pictures), "keypoints": known}
    spec = job_with(job, real(pictures, images=images))
    first, second = through(spec, Generate, Estimate)[:2]
    assert (first.state, first.reason) == ("rejected", "no keypoints")
    assert second.active and len(second.people) == 1 and second.people[0].detection_score == 1
    scale = SIZE / 80  # of 1.png, 100 px high, the middle 80 are shown; the torso, 30 px, is a third of the crop
    np.testing.assert_allclose(second.people[0].crop, np.array([40, 55 - 10, 3 * 30]) * scale, rtol=1e-5)
    second.final, second.people = second.initial, []
    again = through(spec, Estimate, unit=Unit(0, 0, [second]))[0]  # the next cycle sees what was drawn
    assert again.cycle == 1 and not np.allclose(again.people[0].crop, np.array([40, 45, 90]) * scale)


def test_an_estimator_of_whole_images_takes_no_keypoints(job, pictures, known, monkeypatch):
    spec = job_with(job, real(pictures, images={"kind": "list", "path": str(pictures), "keypoints": known}))
    monkeypatch.setattr("factory.models.hmr.crop.CropHMR.finds", True)
    with pytest.raises(UserError, match="images.keypoints: this estimator looks at whole images"):
        Estimate(spec).setup()


def test_an_estimator_of_whole_images_aligns_none(job, monkeypatch):
    spec = job(estimate={"hmr": {"align": True}})
    monkeypatch.setattr("factory.models.hmr.crop.CropHMR.finds", True)
    with pytest.raises(UserError, match="hmr.align: this estimator finds people itself"):
        Estimate(spec).setup()


def test_variants_share_the_image_and_differ_in_pose(job):
    augment = {"variants": 3, "keep_first": True}
    spec = job_with(job, {"unit_size": 2, "samples_per_shard": 6, "records": 6}, estimate={"augment": augment})
    records = [r for i in range(3) for r in through(spec, Generate, Estimate, unit=planned(spec, i))]
    assert [r.variant for r in records] == [0, 1, 2, 0, 1, 2]
    for some in (records[:3], records[3:]):
        assert len({r.prompt for r in some}) == 1
        for r in some:  # another batch may round another way
            assert np.abs(r.initial.astype(int) - some[0].initial).max() <= 1
        poses = [r.people[0].body_pose for r in some]
        assert not np.allclose(poses[0], poses[1], atol=1e-3) and not np.allclose(poses[1], poses[2], atol=1e-3)
    assert np.abs(records[0].initial.astype(int) - records[3].initial).max() > 1
    plain = through(job_with(job, {}), Estimate, unit=Unit(0, 0, [copy.copy(records[0])]))
    np.testing.assert_allclose(records[0].people[0].body_pose, plain[0].people[0].body_pose, atol=1e-4)


class Known:
    """A prior whose code is the pose itself, without spread."""

    def encode(self, body_pose):
        return body_pose[:, :63], np.zeros((len(body_pose), 63), np.float32)

    def decode(self, codes):
        return codes


def bodies(count: int) -> BodyEstimate:
    upright = np.array([[np.pi, 0, 0]] * count)
    nowhere = np.zeros((count, 3))
    return BodyEstimate(upright, np.ones((count, 69)), np.ones((count, 10)), nowhere, nowhere)


def test_codes_are_scaled_as_the_paper_says():
    done = vary(bodies(200), list(range(200)), AugmentSpec(s=0.2), Known())
    factors = done.body_pose[:, :63]
    assert factors.min() >= 0.8 and factors.max() <= 1.2 and abs(factors.mean() - 1) < 0.01
    assert abs(factors.std() - 0.2 / np.sqrt(3)) < 0.005  # uniform
    assert (done.body_pose[:, 63:] == 1).all()  # hands
    assert (done.betas == 1).all() and (done.global_orient[:, 0] == np.float32(np.pi)).all()


def test_or_as_the_authors_do():
    from scipy.spatial.transform import Rotation

    spec = AugmentSpec(code="authors", s=0.3, orientation=10, shape=0.1)
    done = vary(bodies(200), list(range(200)), spec, Known())
    factors = done.body_pose[:, :63]
    assert abs(factors.mean() - 1.5) < 0.02 and abs(factors.std() - 0.3) < 0.02
    turned = Rotation.from_rotvec(done.global_orient) * Rotation.from_rotvec([np.pi, 0, 0]).inv()
    assert np.allclose(turned.as_euler("xyz", degrees=True).std(0), 10, atol=2)
    assert abs(done.betas.std() - 0.1) < 0.01
    again = vary(bodies(1), [7], spec, Known())
    np.testing.assert_array_equal(again.body_pose[0], done.body_pose[7])


def test_blur_takes_the_sharpness_and_draws_its_radius(job):
    def detail(image):
        return np.abs(np.diff(image.astype(float), axis=1)).mean()

    sharp = through(job(), Refine, unit=Unit(0, 0, [rendered(0), rendered(1)]))
    soft = through(job(refine={"blur": [1.0, 2.5]}), Refine, unit=Unit(0, 0, [rendered(0), rendered(1)]))
    shares = [detail(b.final) / detail(a.final) for a, b in zip(sharp, soft, strict=True)]
    assert max(shares) < 0.6 and abs(shares[0] - shares[1]) > 0.005
    kept = through(job(refine={"blur": [1.0, 2.5]}), Refine, unit=Unit(0, 0, [rendered(kept=True)]))[0]
    assert not kept.refined and not np.array_equal(kept.final, kept.initial)


def test_cycles_begin_with_what_the_last_one_made(job):
    lenient = {"min_coverage": 0.0, "min_inside": 0.0}
    cycled = job_with(job, {"cycles": 2, "records": 2}, render=lenient, estimate={"easy": "refine"})
    stages = default_stages(cycled)
    assert [stage.name for stage in stages][:7] == ["generate", *["estimate", "render", "refine"] * 2]
    once = through(cycled, *stages[:4])
    twice = through(cycled, *stages[:7])
    assert any(r.active for r in twice)
    for one, two in zip(once, twice, strict=True):
        if two.active:
            assert (one.cycle, two.cycle) == (0, 1)
            np.testing.assert_array_equal(two.initial, one.final)
            assert not np.array_equal(two.final, one.final)


def test_an_image_that_was_kept_stays_through_all_cycles(job):
    lenient = {"min_coverage": 0.0, "min_inside": 0.0}
    easy = {"easy": "keep", "prior": {"tau": 1e9}}
    spec = job_with(job, {"cycles": 2, "records": 2}, render=lenient, estimate=easy)
    for done in through(spec, *default_stages(spec)[:7]):
        assert done.active and not done.refined and done.cycle == 0
        np.testing.assert_array_equal(done.final, done.initial)


def test_inline_makes_the_same_bytes_twice(job, pictures):
    more = {"augment": {"variants": 2}}
    lenient = {"min_coverage": 0.0, "min_inside": 0.0}
    spec = job_with(job, real(pictures, cycles=2), estimate=more, render=lenient, refine={"blur": [0.5, 1]})
    spec = plan(spec).job
    assert spec.records == 10
    stages = default_stages(spec)
    one, two = ([part.tar for _, _, part in compute(plan(spec), stages, plan(spec).ids())] for _ in range(2))
    assert one == two and any(one)


@pytest.mark.parametrize(
    ("top", "stages", "words"),
    [
        ({}, {"generate": {"model": None}}, "stages.generate.model is missing"),
        ({}, {"estimate": {"hmr": None}}, "stages.estimate.hmr is missing"),
        ({"records": 0}, {}, "records is missing"),
        ({"prompts": {"template": ""}}, {}, "prompts are missing"),
        ({}, {"estimate": {"easy": "keep", "augment": {"variants": 2}}}, "cannot be kept"),
        (
            {"images": {"path": "x", "keypoints": "y"}},
            {"estimate": {"hmr": {"kind": "bev", "model": "z"}}},
            "bev looks at whole images",
        ),
        ({}, {"estimate": {"hmr": {"kind": "bev", "model": "z", "align": True}}}, "hmr.align: .* bev looks at whole"),
        (
            {"images": {"path": "x", "keypoints": "y"}},
            {"estimate": {"hmr": {"model": "z", "align": True}}},
            "hmr.align: .* images.keypoints says",
        ),
        (
            {"poses": {"path": "z"}},
            {"estimate": {"hmr": {"model": "z", "align": True}}},
            "hmr.align: .* poses are given",
        ),
        ({"images": {"path": "x", "keypoints": "y"}, "poses": {"path": "z"}}, {}, "where poses are given"),
    ],
)
def test_what_does_not_fit_together_is_said_in_one_line(job, top, stages, words):
    from factory.config import validate

    values = {**job().model_dump(mode="json"), **top}
    for name, fields in stages.items():
        values["stages"][name] |= fields
    with pytest.raises(UserError, match=words):
        validate(values)


def test_easy_poses_are_refined_by_default_where_the_image_is_real(values, pictures):
    del values["stages"]["estimate"]["easy"]
    assert JobSpec.model_validate(values).stages.estimate.easy == "drop"
    assert JobSpec.model_validate({**values, **real(pictures)}).stages.estimate.easy == "refine"
    values["stages"]["estimate"]["easy"] = "drop"
    assert JobSpec.model_validate({**values, **real(pictures)}).stages.estimate.easy == "drop"

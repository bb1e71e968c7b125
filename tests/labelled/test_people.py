"""Labelled people: from data sets of the factory, SMART, Ski-Pose and SPIN's files, all with the same fields."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from factory.errors import UserError
from factory.export.run import export
from factory.geometry.joints import H36M17, J24, OPENPOSE25
from factory.job import JobSpec
from factory.labelled.base import LabelledPeople
from factory.labelled.choice import open_people
from factory.store.dataset import open_data
from tests.support import small
from tests.support.command import needs_weights
from tests.support.real_layouts import SKIER, make_ski, make_smart


def complete(people: LabelledPeople) -> None:
    """Every field has a row for each person, and the images are there."""
    count = len(people)
    assert people.crop.shape == (count, 3) and people.keypoints.shape == (count, 49, 3)
    assert len(people.action) == len(people.images) == count
    for array in (people.crop, people.keypoints, people.pose, people.betas, people.joints3d):
        assert array is None or (array.dtype == np.float32 and len(array) == count)
    assert (people.pose is None) == (people.betas is None)
    assert (people.joints3d is None) == (people.skeleton is None)
    for image in people.read(range(count)):
        assert image.dtype == np.uint8 and image.ndim == 3


# Data sets of the factory


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    """6 records, of which 3 is rejected and 1 shows two people: 6 people."""
    folder = tmp_path_factory.mktemp("labelled")
    values = {
        "name": "people", "output": str(folder / "out"), "records": 6, "image_size": 64, "unit_size": 6,
        "samples_per_shard": 6, "engine": "inline", "body": {"model": "starter:body", "name": "mine"},
        "prompts": {"action": ["vault", "pole vault"]},
        "stages": {
            "generate": {"model": "none"},
            "estimate": {"hmr": {"model": "none"}, "prior": {"model": "none"}, "detector": {"model": "none"}},
            "refine": {"model": "none"},
        },
    }  # fmt: skip
    small.make(JobSpec.model_validate(values))
    return folder / "out"


@needs_weights
def test_a_data_set_gives_its_final_images_and_bodies(data_set):
    people = open_people(str(data_set))
    complete(people)
    assert len(people) == 6 and people.images[1] == people.images[2]
    assert (people.skeleton, people.body) == ("j24", "open-body")
    sample = next(open_data(data_set).samples())
    np.testing.assert_array_equal(people.read([0])[0], sample.image)
    np.testing.assert_array_equal(people.pose[0], sample.people["pose"][0])
    np.testing.assert_array_equal(people.joints3d[0], sample.people["joints3d"][0, 25:])
    prompts = [row["prompt"] for row in open_data(data_set).rows.to_pylist() if row["size"]]
    whole = ["pole vault" if "pole vault" in prompt else "vault" for prompt in prompts]
    assert [people.action[i] for i in (0, 1, 3, 4, 5)] == whole


@needs_weights
def test_the_crop_of_a_person_is_that_of_spins_files(data_set, tmp_path):
    """The same people by way of an export: crops, keypoints, bodies and pixels are the same."""
    export(str(data_set), str(tmp_path / "spin"), "spin", "train=1")
    file = next((tmp_path / "spin").glob("*.npz"))
    ours, theirs = open_people(str(data_set)), open_people(f"{file}:{file.parent}")
    complete(theirs)
    assert theirs.body is None and theirs.action == ("",) * 6
    order = [np.abs(theirs.pose - pose).sum(1).argmin() for pose in ours.pose]
    same = theirs.take(order)
    for name in ("crop", "keypoints", "pose", "betas", "joints3d"):
        np.testing.assert_allclose(getattr(same, name), getattr(ours, name), rtol=1e-5, atol=1e-3, err_msg=name)
    for image, other in zip(same.read(range(6)), ours.read(range(6)), strict=True):
        np.testing.assert_array_equal(image, other)


@needs_weights
def test_some_people_by_condition_by_limit_and_by_number(data_set):
    everybody = open_people(str(data_set))
    assert len(open_people(str(data_set), where="people = 1")) == 4
    few = open_people(str(data_set), limit=3)
    np.testing.assert_array_equal(few.pose, everybody.pose[[0, 2, 4]])
    taken = everybody.take([5, 0])
    assert taken.images == (everybody.images[5], everybody.images[0])
    np.testing.assert_array_equal(taken.crop, everybody.crop[[5, 0]])
    np.testing.assert_array_equal(taken.read([1])[0], everybody.read([0])[0])


@needs_weights
def test_people_travel_to_another_process(data_set):
    people = open_people(str(data_set))
    people.read([0])
    sent = pickle.loads(pickle.dumps(people))
    np.testing.assert_array_equal(sent.read([4])[0], people.read([4])[0])


@needs_weights
def test_what_a_data_set_cannot_give(data_set, tmp_path):
    with pytest.raises(UserError, match="no sample fits --where 'people = 7'"):
        open_people(str(data_set), where="people = 7")
    with pytest.raises(UserError, match="unknown column persons; did you mean"):
        open_people(str(data_set), where="persons = 1")
    with pytest.raises(UserError, match="nothing labelled is there; give a data set"):
        open_people(str(tmp_path / "none"))


# SMART and Ski-Pose


def test_smart_athletes_are_labelled_as_in_the_papers_code(tmp_path):
    """Visible joints count, of divers hidden ones too; faces and feet only of divers."""
    make_smart(tmp_path, pixels=True)
    people = open_people(f"smart:{tmp_path}")
    complete(people)
    assert people.action[0] == "high jump" and people.pose is None and people.joints3d is None
    jump, dive = people.keypoints[0], people.keypoints[people.action.index("diving")]
    assert jump[:25, 2].sum() == 15
    known = {J24[j] for j in np.flatnonzero(jump[25:, 2])}
    sides = {f"{side}_{part}" for side in ("left", "right") for part in ("ankle", "knee", "wrist", "elbow", "shoulder")}
    assert known == sides | {"right_hip_lsp", "left_hip_lsp", "nose"}
    np.testing.assert_array_equal(jump[25 + J24.index("right_hip_lsp"), :2], [380, 350])
    np.testing.assert_array_equal(jump[25 + J24.index("left_shoulder"), :2], [420, 250])
    assert dive[:25, 2].sum() == 25 and dive[25:, 2].sum() == 17
    np.testing.assert_allclose(people.crop[0], [400, 300, 300])


def test_the_split_is_an_argument_or_stands_in_the_name(tmp_path):
    make_smart(tmp_path)
    train, test = (open_people(f"smart:{tmp_path}@{split}") for split in ("train", "test"))
    assert set(train.images).isdisjoint(test.images)
    assert open_people(f"smart:{tmp_path}", split="train").images == train.images
    assert open_people(f"smart:{tmp_path}@test", split="train").images == test.images
    with pytest.raises(UserError, match="no split valid; there are train and test"):
        open_people(f"smart:{tmp_path}@valid")


def test_skiers_have_3d_joints_in_metres(tmp_path):
    make_ski(tmp_path, pixels=True)
    people = open_people(f"skipose:{tmp_path}@train")
    complete(people)
    assert people.skeleton == "h36m17" and people.action == ("alpine skiing",) * 3
    np.testing.assert_allclose(people.joints3d[0, :, :3], np.arange(51).reshape(17, 3) / 50, rtol=1e-6)
    assert (people.joints3d[..., 3] == 1).all()
    keypoints = people.keypoints[0]
    assert {J24[j] for j in np.flatnonzero(keypoints[25:, 2])} == {
        f"{side}_{part}" for side in ("left", "right")
        for part in ("ankle", "knee", "hip_lsp", "wrist", "elbow", "shoulder")
    }  # fmt: skip
    np.testing.assert_allclose(keypoints[25 + J24.index("left_ankle"), :2], SKIER[H36M17.index("left_ankle")])
    np.testing.assert_allclose(keypoints[OPENPOSE25.index("neck"), :2], SKIER[H36M17.index("thorax")])


def test_skiers_without_3d_joints(tmp_path):
    make_ski(tmp_path, pixels=True)
    with h5py.File(tmp_path / "test" / "labels.h5", "a") as file:
        del file["3D"]
    people = open_people(f"skipose:{tmp_path}")
    assert len(people) == 1 and people.joints3d is None and people.skeleton is None


def test_faults_of_annotated_data_sets_are_told_with_their_name(tmp_path):
    with pytest.raises(UserError, match=f"^smart:{tmp_path}: .*is missing; give the folder of SMART"):
        open_people(f"smart:{tmp_path}")
    with pytest.raises(UserError, match="skipose:nowhere: no such folder: nowhere"):
        open_people("skipose:nowhere")
    make_ski(tmp_path)
    with pytest.raises(UserError, match="--where: skipose:.* has no index to ask"):
        open_people(f"skipose:{tmp_path}", where="people = 1")
    people = open_people(f"skipose:{tmp_path}")
    with pytest.raises(UserError, match=r"the image test/seq_000/.*_000100.png in .* cannot be read \(broken"):
        people.read([0])
    (tmp_path / people.images[0]).unlink()
    with pytest.raises(UserError, match=r"the image test/seq_000.* is not in"):
        people.read([0])


# Files of SPIN's layout

RNG = np.random.default_rng(0)
ROWS = {
    "imgname": np.array(["a.png", "sub/b.png"]), "center": RNG.uniform(20, 40, (2, 2)), "scale": np.array([0.2, 0.3]),
    "pose": RNG.normal(size=(2, 72)), "shape": RNG.normal(size=(2, 10)), "has_smpl": np.array([1, 0]),
    "S": RNG.normal(size=(2, 24, 4)), "part": RNG.uniform(0, 60, (2, 24, 3)), "gender": np.array(["m", "f"]),
}  # fmt: skip


def spin_file(folder: Path, **changes: np.ndarray | None) -> str:
    rows = {name: array for name, array in {**ROWS, **changes}.items() if array is not None}
    (folder / "pictures" / "sub").mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(("a.png", "sub/b.png")):
        Image.new("RGB", (64, 48), (9, 9, i)).save(folder / "pictures" / name)
    np.savez(folder / "people.npz", **rows)
    return f"{folder / 'people.npz'}:{folder / 'pictures'}"


def test_a_file_of_spin(tmp_path):
    people = open_people(spin_file(tmp_path))
    complete(people)
    np.testing.assert_allclose(people.crop[:, 2], [40, 60], rtol=1e-6)
    assert (people.keypoints[:, :25] == 0).all()
    np.testing.assert_allclose(people.keypoints[:, 25:], ROWS["part"], rtol=1e-6)
    assert np.isfinite(people.pose[0]).all() and np.isnan(people.pose[1]).all() and np.isnan(people.betas[1]).all()
    assert people.skeleton == "j24" and people.gender == ("m", "f")
    assert people.read([1])[0].shape == (48, 64, 3) and people.take([1]).gender == ("f",)


def test_a_file_of_poses_alone_such_as_3dpws(tmp_path):
    people = open_people(spin_file(tmp_path, S=None, part=None, has_smpl=None))
    assert people.joints3d is None and (people.keypoints[..., 2] == 0).all() and np.isfinite(people.pose).all()


def test_images_lie_beside_the_file_where_no_folder_is_named(tmp_path):
    file = spin_file(tmp_path).partition(":")[0]
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    assert open_people(file).read([0])[0].shape == (30, 30, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pose": None, "S": None, "part": None}, "holds no label: it needs keypoints"),
        ({"center": None}, "lacks center"),
        ({"shape": None}, r"has pose \(N, 72\) but lacks shape"),
        ({"imgname": None}, "needs imgname"),
        ({"imgname": np.array(["/etc/a.png", "b.png"])}, "imgname of row 0 leaves the folder"),
        ({"imgname": np.array(["a.png", "x/../../b.png"])}, "imgname of row 1 leaves the folder"),
        ({"part": RNG.uniform(size=(2, 14, 3))}, r"part is \(2, 14, 3\), not \(2, 24, 3\)"),
        ({"scale": np.array([1, 0])}, "scale of row 1 is not above 0"),
        ({"pose": np.full((2, 72), np.nan)}, "not finite everywhere"),
        ({"gender": np.array(["m", "neutral"])}, "gender is neutral; write m, f or nothing"),
        ({"imgname": np.array(["a.png", None], object)}, "is no plain .npz"),
        (
            {name: array[:0] for name, array in ROWS.items()},
            "nobody is labelled there",
        ),
    ],
)
def test_files_that_are_not_as_spins(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        open_people(spin_file(tmp_path, **changes))


def test_no_file_of_spin(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*none\.npz; give an \.npz of SPIN's layout"):
        open_people(str(tmp_path / "none.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4 cut")
    with pytest.raises(UserError, match="is no plain .npz"):
        open_people(str(tmp_path / "broken.npz"))

"""Labels find their images whatever tool has written their names, and never another image's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import UserError
from factory.job import PosesSpec
from factory.sources import keypoints
from factory.sources.names import Rows, matches
from factory.sources.poses import load_poses, require_poses

IMAGES = ["x/Ä 1.jpg", "x/b.jpg", "y/c.png"]
SPELT = {
    "as they are": IMAGES,
    "bytes": np.array([name.encode() for name in IMAGES]),
    "backslashes": [name.replace("/", "\\") for name in IMAGES],
    "backslashes of a whole path": ["D:\\data\\" + name.replace("/", "\\") for name in IMAGES],
    "no folder": [name.rpartition("/")[2] for name in IMAGES],
    "no ending": [name.rpartition(".")[0] for name in IMAGES],
    "bytes without folder and ending": np.array([name[2:].rpartition(".")[0].encode() for name in IMAGES]),
    "another ending": [name.rpartition(".")[0] + ".heic" for name in IMAGES],
    "capitals": [name.upper() for name in IMAGES],
    "./": ["./" + name for name in IMAGES],
}


@pytest.mark.parametrize("spelling", SPELT)
def test_poses_and_keypoints_find_their_images_however_they_are_spelt(tmp_path, spelling):
    arrays = {"pose": np.zeros((3, 72)), "betas": np.zeros((3, 10)), "camera": np.ones((3, 3))}
    np.savez(tmp_path / "labels.npz", imgname=SPELT[spelling], part=np.ones((3, 24, 3)), **arrays)
    spec = PosesSpec(path=str(tmp_path / "labels.npz"))
    assert [load_poses(spec).rows().of(image) for image in IMAGES] == [[0], [1], [2]]
    assert require_poses(spec, IMAGES) == f"3 of 3 images are named in {spec.path}"
    assert keypoints.require_keypoints(spec.path, [*IMAGES, "d.jpg"]) == f"3 of 4 images are named in {spec.path}"


def test_names_that_fit_no_image_are_refused_with_both(tmp_path):
    arrays = {"pose": np.zeros((1, 72)), "betas": np.zeros((1, 10)), "camera": np.ones((1, 3))}
    np.savez(tmp_path / "poses.npz", imgname=["other.jpg"], **arrays)
    with pytest.raises(
        UserError, match=r"names none of the 3 images: it names other\.jpg, they are called such as x/Ä 1"
    ):
        require_poses(PosesSpec(path=str(tmp_path / "poses.npz")), IMAGES)
    np.savez(tmp_path / "poses.npz", **arrays)
    with pytest.raises(UserError, match=r"does not say which image each pose is of: it lacks imgname"):
        require_poses(PosesSpec(path=str(tmp_path / "poses.npz")), IMAGES)


def test_a_label_that_could_be_of_two_images_is_refused():
    """cam0/1.jpg and cam1/1.jpg would both get the pose of 1.jpg."""
    with pytest.raises(
        UserError, match=r"poses: f names 1 images in a way that fits two: 1\.jpg may be a/1\.jpg or b/1"
    ):
        matches("poses", "f", Rows(["1.jpg"]), ["a/1.jpg", "b/1.jpg"])
    assert Rows(["a/1.jpg", "b/1.jpg"]).of("1.jpg") == []


def test_a_dot_in_a_name_is_no_ending():
    rows = Rows(["clip.01", "clip.02"])
    assert (rows.of("clip.01.jpg"), rows.of("clip.02.png"), rows.of("clip.jpg")) == ([0], [1], [])


paths = st.lists(st.sampled_from(["a", "B", "b", "1.2"]), min_size=1, max_size=3).map("/".join)
images = st.builds(str.__add__, paths, st.sampled_from([".jpg", ".PNG", ".jpeg"]))


@given(st.lists(images, min_size=1, max_size=6))
def test_an_image_named_as_it_is_has_its_own_rows_and_no_others(names):
    rows = Rows(names)
    for name in names:
        assert rows.of(name) == [row for row, other in enumerate(names) if other == name]


@given(st.lists(images, min_size=1, max_size=6), images)
def test_any_other_image_has_the_rows_of_one_name_at_most(names, image):
    assert len({names[row] for row in Rows(names).of(image)}) <= 1

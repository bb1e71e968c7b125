"""Keypoints of known people, from files as SPIN's data sets are; whatever does not fit is named."""

import numpy as np
import pytest

from factory.errors import UserError
from factory.sources.keypoints import load_keypoints, require_keypoints

NAMES = np.array(["x/a.jpg", "b.jpg", "x/a.jpg"])
PART, OPENPOSE = (np.random.default_rng(i).uniform(1, 90, (3, n, 3)) for i, n in enumerate((24, 25)))
NPZ = {"imgname": NAMES, "part": PART, "openpose": OPENPOSE, "center": np.zeros((3, 2)), "scale": np.ones(3)}


def npz(tmp_path, **arrays) -> str:
    np.savez(tmp_path / "people.npz", **arrays)
    return str(tmp_path / "people.npz")


def test_an_image_finds_its_people(tmp_path):
    known = load_keypoints(npz(tmp_path, **NPZ))
    np.testing.assert_allclose(known.of("x/a.jpg"), np.concatenate([OPENPOSE, PART], 1)[[0, 2]], rtol=1e-6)
    assert known.of("deep/b.jpg").shape == (1, 49, 3) and known.of("c.jpg").shape == (0, 49, 3)


def test_half_of_the_joints_will_do(tmp_path):
    known = load_keypoints(npz(tmp_path, imgname=NAMES, part=PART)).of("b.jpg")[0]
    assert (known[:25] == 0).all() and (known[25:] > 0).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"imgname": None}, "needs imgname"),
        ({"part": None, "openpose": None}, "needs imgname, and part"),
        ({"part": PART[:, :14]}, r"part is \(3, 14, 3\), not \(3, 24, 3\)"),
        ({"openpose": OPENPOSE[:2]}, r"openpose is \(2, 25, 3\), not \(3, 25, 3\)"),
        ({"part": PART * np.nan}, "not finite"),
        ({"part": PART * 0, "openpose": OPENPOSE * 0}, "row 0 knows no keypoint"),
        ({"part": np.full((3, 24, 3), "a")}, "part: <U1 is not numbers"),
        ({"imgname": np.array(["a", "b", None], object)}, "no plain .npz"),
    ],
)
def test_what_does_not_fit(tmp_path, change, words):
    arrays = {name: array for name, array in {**NPZ, **change}.items() if array is not None}
    with pytest.raises(UserError, match=f"^images.keypoints: .*{words}"):
        load_keypoints(npz(tmp_path, **arrays))


def test_no_file_and_broken_file(tmp_path):
    with pytest.raises(UserError, match="images.keypoints: no such file"):
        load_keypoints(str(tmp_path / "gone.npz"))
    whole = npz(tmp_path, **NPZ)
    for data in (b"{broken", (tmp_path / "people.npz").read_bytes()[:500]):
        (tmp_path / "people.npz").write_bytes(data)
        with pytest.raises(UserError, match="no plain .npz"):
            load_keypoints(whole)


def test_a_file_about_other_images(tmp_path):
    path = npz(tmp_path, **NPZ)
    assert require_keypoints(path, ["c.jpg", "b.jpg"]) == f"1 of 2 images are named in {path}"
    with pytest.raises(UserError, match="names none of the 1 images: it names x/a.jpg, they are called such as c.jpg"):
        require_keypoints(path, ["c.jpg"])

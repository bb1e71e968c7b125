"""Labels of which each is sound alone and that do not fit each other, or the images: every one of them is told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.export.validate import validate
from factory.geometry.joints import FLIP24, FLIP49, FLIP_J24
from tests.support.exports import TABLES, each, put, spoilt, tar_problems

J24 = list(FLIP_J24)


def rolled(axis: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.roll(values, 1, axis)


def objects(name: str, key: str, change: Callable) -> Callable[[dict], None]:
    """Of a dict in an npz."""

    def spoil(rows: dict) -> None:
        told = rows[name].item()
        rows[name] = np.array({**told, key: change(told[key])}, dtype=object)

    return spoil


def mirrored(pose: np.ndarray) -> np.ndarray:
    return (pose.reshape(-1, 24, 3)[:, list(FLIP24)] * [1, -1, -1]).reshape(len(pose), -1)


def corners(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:4], box[:, 4:]], 1)


def swap(joints: np.ndarray, order: list[int], start: int = 0) -> np.ndarray:
    joints = joints.copy()
    joints[:, start : start + len(order)] = joints[:, [start + i for i in order]]
    return joints


MUTATIONS = [
    ("spin", put("part", rolled(1)), "part: its joints lie .* of a body away from the same joints of openpose"),
    ("spin", put("part", lambda v: v[:, J24]), "part: fits S with left and right swapped"),
    ("spin", put("openpose", lambda v: v[:, list(FLIP49[:25])]), "openpose: fits pose with left and right swapped"),
    ("spin", put("S", rolled(1)), "part: does not fit S"),
    ("spin", put("S", rolled(0)), "part: does not fit S"),
    ("spin", put("pose", rolled(0)), "pose: |_fits.npy: differs from pose"),
    ("spin", put("pose", mirrored), "part: (does not fit pose|fits pose with left and right)"),
    ("spin", put("shape", rolled(0)), "_fits.npy: differs from shape"),
    ("spin", put("center", lambda v: v + 500), "center: .* boxes hold less than half of the joints"),
    ("spin", put("scale", lambda v: v / 10), "scale|center: .* boxes hold less"),
    ("spin", lambda rows: rows.update(gender=np.full(len(rows["scale"]), "neutral")), "gender: holds 'neutral'"),
    ("bedlam", put("shape", lambda v: v * 0), "betas: differs from shape in"),
    ("bedlam", put("betas", rolled(0)), "betas: differs from shape in"),
    ("bedlam", put("cam_ext", lambda v: v * np.array([1, 1, 1, 2])), "cam_ext: at that distance .* m long"),
    ("bedlam", put("trans_cam", lambda v: v + np.array([0, 0, -999])), "cam_ext: .* people stand behind the camera"),
    ("bedlam", put("cam_int", lambda v: v * np.array([[3], [3], [1]])), "cam_ext: at that distance and"),
    ("bedlam", put("gtkps", rolled(0)), "gtkps: does not fit pose_cam"),
    ("bedlam", put("gtkps", lambda v: v[:, list(FLIP24)]), "gtkps: fits pose_cam with left and right swapped"),
    ("bedlam", put("openpose", lambda v: v[:, list(FLIP49[:25])]), "openpose: its joints lie"),
    ("bedlam", put("part", rolled(1)), "part: its joints lie"),
    ("bedlam", put("pose_cam", rolled(0)), "gtkps: does not fit pose_cam"),
    ("bedlam", put("center", lambda v: v + 500), "center: .* boxes hold less than half"),
    ("camerahmr", put("gtkps", rolled(0)), "gtkps: does not fit pose_cam"),
    ("camerahmr", put("gtkps", lambda v: v[:, list(FLIP49[:44])]), "gtkps: fits pose_cam with left and right swapped"),
    ("camerahmr", put("gtkps", lambda v: swap(v, J24[:19], 25)), r"gtkps\[25:\]: its joints lie"),
    ("camerahmr", put("cam_ext", lambda v: v * np.array([1, 1, 1, 2])), "cam_ext: at that distance .* m long"),
    ("camerahmr", put("pose_cam", mirrored), "gtkps: (does not fit|fits) pose_cam"),
    ("camerahmr", put("center", lambda v: v - 500), "center: .* boxes hold less than half"),
    ("humandata", put("keypoints2d", rolled(1)), "keypoints2d: (does not fit|fits) "),
    ("humandata", put("keypoints2d", rolled(0)), "keypoints2d: does not fit keypoints3d"),
    ("humandata", put("keypoints3d", lambda v: v * [1000, 1000, 1000, 1]), "keypoints3d: .* not millimetres"),
    ("humandata", put("bbox_xywh", corners), "bbox_xywh: fits keypoints2d as x0, y0, x1, y1"),
    ("humandata", objects("smpl", "body_pose", rolled(0)), "keypoints2d: does not fit smpl"),
    ("humandata", put("bbox_xywh", lambda v: v + np.eye(1, 5) * 500), "bbox_xywh: .* boxes hold less than half"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "words"), MUTATIONS, ids=[f"{n}-{w[:28]}" for n, _, w in MUTATIONS])
def test_each_mutation_of_a_table_is_found(exported, tmp_path: Path, name: str, spoil, words: str) -> None:
    problems = spoilt(exported, tmp_path, name, spoil)
    assert any(re.search(words, problem) for problem in problems), problems
    assert all(len(problem) < 300 and "\n" not in problem for problem in problems)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (each("keypoints_2d", rolled(0)), "keypoints_2d"),
        (each("keypoints_2d", lambda v: v[list(FLIP49[:44])]), "keypoints_2d: fits keypoints_3d with left and right"),
        (each("keypoints_2d", lambda v: swap(v[None], J24[:19], 25)[0]), r"keypoints_2d\[25:\]: its joints lie"),
        (each("body_pose", lambda v: mirrored(v[None])[0].astype(np.float32)), "keypoints_2d: .*body_pose"),
        (each("center", lambda v: v + 500), "center: .* boxes hold less than half"),
    ],
)  # fmt: skip
def test_each_mutation_of_a_tar_is_found(exported, tmp_path: Path, spoil, words: str) -> None:
    from factory.export import pickles

    def ours(people: list) -> bytes:
        spoil(people)
        return b"".join(pickles.dump(people))

    problems = tar_problems(exported, tmp_path, ours)
    assert any(re.search(words, problem) for problem in problems), problems
    assert not tar_problems(exported, tmp_path, lambda people: b"".join(pickles.dump(people)))


@pytest.mark.parametrize("keep", [lambda size: size // 2, lambda size: 300])
@pytest.mark.parametrize("name", [*TABLES, "hmr2"])
def test_an_image_that_is_cut_is_found(exported, tmp_path: Path, name: str, keep: Callable[[int], int]) -> None:
    to = tmp_path / "to"
    shutil.copytree(exported(name), to)
    if name == "hmr2":
        from factory.export.hmr2 import sample_problems

        image = next((exported("spin") / "images").rglob("*.jpg")).read_bytes()
        told = list(sample_problems({"jpg": image[: keep(len(image))], "data.pyd": b""}))
        assert any(problem.startswith("jpg: unreadable") for problem in told), told
        return
    image = next(to.rglob("*.jpg"))
    image.write_bytes(image.read_bytes()[: keep(image.stat().st_size)])
    problems = list(validate(str(to), name))
    assert any("1 images cannot be decoded" in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("000000}", "000009}"), "datasets_tar.yaml: HARD-POSES-TRAIN: names .*000001.tar"),
        (lambda text: text.replace("hard-poses-val/", "other/"), "datasets_tar.yaml: HARD-POSES-VAL: names .*other"),
        (lambda text: "a: &a [1]\nb: *a\n", "datasets_tar.yaml: unreadable"),
        (lambda text: "- 1\n", "datasets_tar.yaml: unreadable"),
        (lambda text: text.replace("000000}", "999999999}"), "datasets_tar.yaml: HARD-POSES-TRAIN: names .*000001.tar"),
    ],
)
def test_a_tar_that_the_yaml_names_and_that_is_not_there_is_found(exported, tmp_path: Path, change, words: str) -> None:
    to = tmp_path / "to"
    shutil.copytree(exported("hmr2"), to)
    (to / "datasets_tar.yaml").write_text(change((to / "datasets_tar.yaml").read_text()))
    assert any(re.search(words, problem) for problem in validate(str(to), "hmr2"))


@pytest.mark.parametrize(("name", "word"), [("bedlam", "closeup"), ("camerahmr", "closeup"), ("camerahmr", "portrait")])
def test_a_name_at_which_images_are_turned_is_found(exported, tmp_path: Path, name: str, word: str) -> None:
    spoilt(exported, tmp_path, name, lambda rows: None)
    (tmp_path / TABLES[name]).rename(tmp_path / f"my-{word}s.npz")
    assert any(f"name: holds '{word}'" in problem for problem in validate(str(tmp_path), name))


@pytest.mark.parametrize("name", ["spin", "bedlam", "camerahmr"])
def test_a_rewritten_export_is_still_sound(exported, tmp_path: Path, name: str) -> None:
    assert spoilt(exported, tmp_path, name, lambda rows: None) == []

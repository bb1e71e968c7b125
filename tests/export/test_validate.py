from __future__ import annotations

import io
import os
import pickle
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.errors import UserError
from factory.export import pickles
from factory.export.formats import FORMATS
from factory.export.hmr2 import sample_problems
from factory.export.validate import validate
from tests.support.exports import TABLES, Harm, each, put, spoilt, tar_problems


@pytest.mark.parametrize("name", FORMATS)
def test_what_we_export_is_sound(exported, name: str) -> None:
    assert list(validate(str(exported(name)), name)) == []


def drop(name: str) -> Callable[[dict], object]:
    return lambda rows: rows.pop(name)


CASES = [
    ("spin", drop("imgname"), "imgname: missing"),
    ("spin", drop("scale"), "scale: missing"),
    ("spin", drop("center"), "center: missing"),
    ("spin", drop("shape"), "shape: missing, though there is a pose"),
    ("spin", put("scale", lambda v: v * 200), "scale: its median is .* px: divide pixels by 200"),
    ("spin", put("scale", lambda v: v * 0), "scale: .* boxes are smaller than 1 px"),
    ("spin", put("pose", lambda v: np.degrees(v)), "pose: .* not degrees"),
    ("spin", put("pose", lambda v: v.reshape(-1, 24, 3)), r"pose: \(\d+, 24, 3\), not \(N, 72\)"),
    ("spin", put("imgname", lambda v: v.astype(object)), "unreadable .imgname: holds objects"),
    ("spin", put("imgname", lambda v: np.char.add("gone/", v)), r"imgname: (\d+) of \1 images are not below"),
    ("spin", put("S", lambda v: v * 1000), "S: bodies are .* not millimetres"),
    ("spin", put("S", lambda v: v[:-1]), "rows: .*S has"),
    ("spin", put("part", lambda v: v / 1000), "part: all within -2..2"),
    ("spin", put("openpose", lambda v: np.concatenate([v[:, :8], v[:, 15:], v[:, 8:15]], 1)), "order is not OpenPose"),
    ("spin", put("center", lambda v: v * np.nan), "center: .* not finite"),
    ("spin", put("has_smpl", lambda v: v * 2), "has_smpl: must be 0 or 1"),
    ("bedlam", drop("betas"), "betas: missing; it must hold betas again"),
    ("bedlam", drop("cam_int"), "cam_int: missing"),
    ("bedlam", put("pose_cam", lambda v: v[:, :63]), r"pose_cam: \(\d+, 63\), not \(N, 66..165\)"),
    ("bedlam", put("gtkps", lambda v: v[:, :23]), r"gtkps: .* not \(N, 24..1000, 3\)"),
    ("bedlam", lambda rows: rows.update(gtkps=rows["openpose"]), "gtkps: .* order is not SMPL's"),
    ("bedlam", put("cam_int", lambda v: v * 0), "cam_int: no camera"),
    ("camerahmr", drop("pose_cam"), "pose_cam: missing; .* zero pose"),
    ("camerahmr", put("gtkps", lambda v: v[:, ::-1]), "gtkps: .* order is not OpenPose"),
    ("camerahmr", put("gtkps", lambda v: v[:, :24]), r"gtkps: .* not \(N, 44..1000, 3\)"),
    ("humandata", drop("bbox_xywh"), "bbox_xywh: missing; .* the scale is 0"),
    ("humandata", put("bbox_xywh", lambda v: v / 200), "bbox_xywh: "),
    ("humandata", drop("keypoints2d"), "keypoints2d: missing"),
    ("humandata", drop("keypoints2d_mask"), "keypoints2d_mask: missing"),
    ("humandata", drop("__keypoints_compressed__"), "__keypoints_compressed__: missing"),
    ("humandata", drop("smpl"), "smpl: missing; it must be a dict"),
    ("humandata", put("smpl", lambda v: {"betas": np.zeros((3, 10))}), "smpl.body_pose: missing"),
    ("humandata", put("meta", lambda v: {}), "meta: must be a dict of height and width"),
    ("humandata", put("smpl", lambda v: Harm()), "names .*system, which is no plain data and is not run"),
]


@pytest.mark.parametrize(("name", "spoil", "words"), CASES, ids=[f"{name}-{words[:20]}" for name, _, words in CASES])
def test_each_fault_of_a_table_is_told(exported, tmp_path: Path, capfd, name: str, spoil, words: str) -> None:
    problems = spoilt(exported, tmp_path, name, spoil)
    assert any(re.search(words, problem) for problem in problems), problems
    assert all(problem.startswith((TABLES[name], "export.json")) for problem in problems)
    assert "harm" not in capfd.readouterr().out


def test_numpy_2s_own_pickles_are_told(exported, tmp_path: Path) -> None:
    problems = spoilt(exported, tmp_path, "humandata", lambda rows: None)  # np.savez pickles with this numpy
    assert any("pickle: names numpy._core.multiarray, which numpy 1 has not" in problem for problem in problems)


def test_static_fits_must_lie_beside(exported, tmp_path: Path) -> None:
    problems = spoilt(exported, tmp_path, "spin", lambda rows: (tmp_path / "static_fits").unlink())
    assert problems and "static_fits/hard-poses-train_fits.npy: missing" in problems[0]


@pytest.mark.parametrize("name", ["bedlam", "camerahmr"])
def test_an_underscore_in_the_name_is_told(exported, tmp_path: Path, name: str) -> None:
    spoilt(exported, tmp_path, name, lambda rows: None)
    (tmp_path / TABLES[name]).rename(tmp_path / "hard_poses.npz")
    assert any("name: holds '_'" in problem for problem in validate(str(tmp_path), name))


def invalid_pelvis(joints: np.ndarray) -> np.ndarray:
    joints[39, 3] = 0
    return joints


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda people: [person.pop("betas") for person in people] and None, "betas: missing"),
        (each("scale", lambda v: v * 200), "scale: its median is .* divide pixels by 200"),
        (each("scale", lambda v: v[:1]), r"scale: \(1,\), not \(2,\)"),
        (each("scale", list), "scale: a list, not a numpy array"),
        (each("has_betas", bool), "has_betas: a bool, not a numpy array"),
        (each("has_body_pose", float), "has_body_pose: a float, not a numpy array"),
        (each("keypoints_3d", invalid_pelvis), "keypoints_3d: joint 39"),
        (each("keypoints_3d", lambda v: v * 1000), "keypoints_3d: bodies are .* not millimetres"),
        (each("keypoints_3d", lambda v: v[::-1]), "keypoints_3d: .* order is not OpenPose"),
        (each("keypoints_2d", lambda v: v[:25]), r"keypoints_2d: \(25, 3\), not \(44, 3\)"),
        (each("body_pose", lambda v: v[3:]), r"body_pose: \(69,\), not \(72,\)"),
        (lambda people: people[0], "data.pyd: a dict, not a list of dicts"),
        (lambda people: None, "pickle: names numpy._core.multiarray"),
        (lambda people: pickle.dumps([Harm()]), "data.pyd: unreadable .names .*system"),
        (lambda people: b"no pickle", "data.pyd: unreadable"),
    ],
)
def test_each_fault_of_a_tar_is_told(exported, tmp_path: Path, capfd, spoil, words: str) -> None:
    problems = tar_problems(exported, tmp_path, spoil)
    assert any(re.search(words, problem) for problem in problems), problems
    assert all(problem.startswith("000000.tar: hard_poses-") for problem in problems)
    assert "harm" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("masks", "extra", "words"),
    [
        (np.ones((1, 64, 64), bool), {"detection_npz_idx": 0}, None),
        (np.ones((1, 64, 64), bool), {"detection_npz_idx": 1}, "extra_info: detection_npz_idx must number one"),
        (np.ones((1, 64, 64), bool), {}, "extra_info: detection_npz_idx"),
        (np.ones((1, 64, 64), bool), "none", "extra_info: detection_npz_idx"),
        (np.ones((1, 64, 32), bool), {"detection_npz_idx": 0}, "detection.npz: masks must be"),
        (np.ones((1, 64, 64), np.uint8), {"detection_npz_idx": 0}, "detection.npz: masks must be"),
        (np.array(None), {"detection_npz_idx": 0}, "detection.npz: masks must be"),
    ],
)
def test_each_fault_of_the_masks_is_told(exported, masks: np.ndarray, extra: object, words: str | None) -> None:
    with tarfile.open(exported("hmr2") / "hard-poses-val" / "000000.tar") as source:
        image, stored = (source.extractfile(info).read() for info in source.getmembers()[:2])  # type: ignore[union-attr]
    people = [{**person, "extra_info": extra} for person in pickle.loads(stored)]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, masks=masks)
    data = b"".join(pickles.dump(people))
    problems = set(sample_problems({"jpg": image, "data.pyd": data, "detection.npz": buffer.getvalue()}))
    assert len(problems) == bool(words) and all(problem.startswith(words or "") for problem in problems)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    for folder, name, words in (
        ("", "hmr2", "no .tar"),
        ("", "spin", "no .npz"),
        ("no", "spin", "no such folder"),
        ("", "npz", "no such format"),
    ):
        with pytest.raises(UserError, match=words):
            list(validate(str(tmp_path / folder), name))


def test_an_unfinished_export_is_told(exported, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('{"format": "hmr2"}')
    os.symlink(exported("hmr2") / "hard-poses-val" / "000000.tar", tmp_path / "000000.tar")
    assert list(validate(str(tmp_path), "hmr2")) == [
        "export.json: this export is not finished; run the same factory export again"
    ]


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" + b"[]," * 5_000_000 + b"[]]"], ids=["deep", "many"])
def test_a_mark_that_is_none_tells_nothing(exported, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "export.json").write_bytes(content)
    os.symlink(exported("hmr2") / "hard-poses-val" / "000000.tar", tmp_path / "000000.tar")
    assert list(validate(str(tmp_path), "hmr2")) == []


def test_an_archive_that_unpacks_to_anything_is_told(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("scale.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**8,)})
            for _ in range(50):
                file.write(bytes(16 * 10**6))
        archive.writestr("center.npy", b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000,), }".ljust(118))  # noqa: E501  # fmt: skip
    problems = list(validate(str(tmp_path), "spin"))
    assert len(problems) == 1 and re.search("scale: 800,000,000 bytes, more than are read", problems[0])

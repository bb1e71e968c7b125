"""The measures behind the starter pack's figures, and the table they stand in."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.spatial.transform import Rotation

from factory.config import load_job
from factory.errors import UserError
from factory.geometry.agreement import iou, mean_distance, procrustes
from factory.starter.measure import evaluate as evaluation
from factory.starter.measure import images
from factory.starter.measure.context import context_kept
from factory.starter.measure.evaluate import PARTS, Extent, FigureTable, evaluate_pack, show_figures, store_figures
from factory.starter.measure.figures import Figure, as_json, mean, percent
from factory.starter.measure.nearest_action import NearestAction
from factory.starter.measure.renders import auc
from factory.starter.measure.size import megabytes
from factory.starter.world import cache as world_cache
from factory.starter.world.actions import ACTIONS, sample_pose
from factory.starter.world.pose import to_smpl
from tests.support.command import ROOT

DEMO = ROOT / "jobs" / "demo.yaml"
ALL = {"parts": list(PARTS), "quick": False}


def test_procrustes_undoes_a_similarity_and_refuses_a_reflection():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(5, 14, 3))
    turn = Rotation.random(5, random_state=1).as_matrix()
    moved = 1.7 * target @ turn + rng.normal(size=(5, 1, 3))
    assert mean_distance(procrustes(moved, target), target).max() < 1e-6
    assert mean_distance(procrustes(target * [-1, 1, 1], target), target).min() > 100


def test_distances_are_millimetres():
    zero = np.zeros((2, 3, 3))
    assert mean_distance(zero, zero + [0, 0.003, 0.004]) == pytest.approx([5, 5])


def test_auc_and_iou():
    assert auc(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1
    assert auc(np.array([1.0, 4.0]), np.array([2.0, 3.0])) == 0.5
    assert np.isnan(auc(np.zeros(0), np.ones(2)))
    assert iou(np.array([True, True, False]), np.array([False, True, True])) == pytest.approx(1 / 3)


def test_a_goal_is_reached_from_its_own_side_and_never_by_nothing():
    assert Figure("a", "b", 0.9, 3, "images", goal=0.9).reached
    assert Figure("a", "b", 54.0, 3, "people", "mm", 55, at_most=True).reached
    assert not Figure("a", "b", 56.0, 3, "people", "mm", 55, at_most=True).reached
    assert Figure("a", "b", 1.0, 3, "images").reached is None
    nothing = percent("a", "b", [], "images", 50)
    assert nothing.reached is False
    assert percent("a", "b", [True, True, False, False], "images").value == 50
    assert mean([1.0, 2.0]) == 1.5


def test_the_json_holds_every_row_and_the_verdict(tmp_path):
    rows = [Figure("a", "b", 1.0, 3, "images", goal=2), Figure("a", "c", float("nan"), 0, "images")]
    store_figures(FigureTable(rows, {}, ALL), tmp_path / "new" / "figures.json")
    stored = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert stored["all_reached"] is False and stored["rows"] == as_json(rows)
    assert {"value", "goal", "n", "reached"} <= stored["rows"][0].keys()
    assert stored["rows"][0]["reached"] is False and stored["rows"][1]["value"] is None


def test_the_verdict_claims_no_more_than_was_measured():
    good, bad = Figure("a", "b", 2.0, 3, "images", goal=1), Figure("a", "b", 0.0, 3, "images", goal=1)
    some, few = {**ALL, "parts": ["size"]}, {**ALL, "quick": True}
    for rows, settings, reached, words in [
        ([good], ALL, True, "Every goal is reached."),
        ([good], some, None, "Every goal measured is reached (not measured: renders, images, adapter, speed)."),
        ([good], few, None, "Every goal measured is reached (few images, --quick)."),
        ([good, bad], ALL, False, "1 goal is missed."),
        ([bad, bad], few, False, "2 goals are missed (few images, --quick)."),
    ]:
        figures, console = FigureTable(rows, {}, settings), Console(file=StringIO(), width=140)
        show_figures(figures, console)
        assert figures.all_reached is reached and console.file.getvalue().endswith(words + "\n")


def test_poses_are_recognised_whichever_way_they_face():
    """True poses of the world, turned about the vertical and put before a camera, find their own action."""
    actions, rng = NearestAction(), np.random.default_rng(99)
    wanted, poses = [], []
    for name in ACTIONS:
        pose = to_smpl(sample_pose(ACTIONS[name], rng), yaw=rng.uniform(-180, 180))
        root = Rotation.from_euler("x", 180, degrees=True) * Rotation.from_rotvec(pose[0])  # y up -> y down
        pose[0] = root.as_rotvec()
        wanted.append(name)
        poses.append(pose.reshape(72))
    ranks = actions.rank(np.stack(poses))
    assert np.mean([name in rank[:3] for name, rank in zip(wanted, ranks, strict=True)]) >= 0.9
    assert all(sorted(rank) == sorted(ACTIONS) for rank in ranks)
    assert set(actions.rank(poses[0][None], ["yoga", "vault"])[0]) == {"yoga", "vault"}
    # Noise alone must not look like a prompt followed: chance is 12 %.
    noise = rng.normal(0, 0.7, (200, 72))
    asked = rng.choice(list(ACTIONS), 200)
    assert np.mean([name in rank[:3] for name, rank in zip(asked, actions.rank(noise), strict=True)]) < 0.3


def test_context_is_what_lies_outside_the_region():
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (16, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    region = np.zeros((128, 128), bool)
    region[40:90, 40:90] = True
    inside, other = image.copy(), rng.integers(0, 256, image.shape).astype(np.uint8)
    inside[region] = other[region]
    assert context_kept(image, image, region) == pytest.approx(1)
    assert context_kept(image, inside, region) > 0.99
    half = np.where(region[..., None], image, (image // 2 + other // 2).astype(np.uint8))
    assert context_kept(image, other, region) < 0.2 < context_kept(image, half, region) < 0.95
    assert np.isnan(context_kept(image, image, np.ones((128, 128), bool)))


def test_a_linked_file_counts_once(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 500_000)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").symlink_to(Path("..", "a"))
    assert megabytes(tmp_path) == pytest.approx(0.5)


def test_other_scenes_than_the_held_out_ones_are_refused(tmp_path, monkeypatch):
    """Scenes that may have been trained on, or too few of them."""
    monkeypatch.setattr(evaluation, "FULL", Extent(2, 1, 8, 1))
    world_cache.build(tmp_path, first_seed=3, count=2)
    assert world_cache.complete(tmp_path) and not world_cache.held_out(tmp_path)
    with pytest.raises(UserError, match="another folder"):
        evaluate_pack(tmp_path, DEMO, ("renders",), 1)
    (tmp_path / "seeds.json").unlink()
    with pytest.raises(UserError, match="seeds that nobody noted"):
        evaluate_pack(tmp_path, DEMO, ("renders",), 1)
    world_cache.build(tmp_path / "few", first_seed=world_cache.HELD_OUT, count=1)
    with pytest.raises(UserError, match='"count": 1.*not.*"count": 2'):
        evaluate_pack(tmp_path / "few", DEMO, ("renders",), 1)


def test_figures_on_renders_are_the_same_twice(tmp_path, monkeypatch):
    """Of real models and held-out scenes, on one CPU."""
    monkeypatch.setattr(evaluation, "QUICK", Extent(6, 1, 8, 1))
    first, again = (evaluate_pack(tmp_path, DEMO, ("renders",), 1, quick=True) for _ in range(2))
    assert first.as_json() == again.as_json()
    parts = {row.part for row in first.rows}
    assert parts == {"HMR", "VPoser", "segmenter", "yardstick"}
    found = {row.measure: row for row in first.rows}
    assert found["person IoU on renders"].n == 6 and 0.5 < found["person IoU on renders"].value < 1
    assert 10 < found["PA-MPJPE on held-out renders"].value < 250


def test_pictures_of_a_job_that_aligns_are_measured_without_it_too():
    job = load_job(DEMO, ["prompts.action=[yoga, walking]", "stages.generate.steps=4", "stages.refine.steps=4"])
    drawn = images.draw(job, 1, seed=3)
    rows = images.image_figures(drawn, job)
    assert [action for action, _ in drawn] == ["yoga", "walking"]
    fits, alone = rows[-2:]
    assert "align" in fits.measure and fits.goal == 70 and "without align" in alone.measure and alone.goal is None
    aligned = [record for _, record in drawn]
    moved = [
        (before.camera != after.camera).any()
        for one, other in zip(images.unaligned(aligned, job), aligned, strict=True)
        for before, after in zip(one.people, other.people, strict=True)
    ]
    assert any(moved)
    plain = images.image_figures(drawn, load_job(DEMO, ["stages.estimate.hmr.align=false"]))
    assert "align" not in plain[-1].measure and len(plain) == len(rows) - 1

"""Inputs that change between two runs: what holds the same goes on, whatever its name; what changed is refused before
anything is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from factory.engine import inline
from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import plan
from factory.store import contents
from factory.store.begun import differences
from factory.store.dataset import open_data
from factory.store.job_json import job_identity
from factory.store.ledger import open_ledger
from factory.store.verify import verify
from tests.support.files import tree
from tests.support.seeded_stages import STAGES


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (70, 70, 3), np.uint8)).save(path)


@pytest.fixture
def real(values: dict, tmp_path: Path) -> Callable[..., JobSpec]:
    """real(images={...}) -> a job on six pictures with a pose each, two records a unit."""
    for i in range(6):
        picture(tmp_path / "in" / f"{i}.bmp", i)
    arrays = {"pose": np.zeros((6, 72)), "betas": np.zeros((6, 10)), "camera": np.ones((6, 3))}
    np.savez(tmp_path / "poses.npz", imgname=[f"{i}.bmp" for i in range(6)], **arrays)
    np.savez(tmp_path / "keypoints.npz", imgname=[f"{i}.bmp" for i in range(6)], part=np.ones((6, 24, 3)))

    def make(folder: Path = tmp_path, slash: str = "", keypoints: bool = False, **changes: object) -> JobSpec:
        images = {"path": f"{folder / 'in'}{slash}"}
        if keypoints:
            images["keypoints"] = f"{folder}/keypoints.npz"
        else:
            changes["poses"] = {"path": f"{folder}/poses.npz"}
        prompts = {"template": "a {action}", "action": ["walk"]}
        return JobSpec.model_validate(
            {**values, "records": 0, "image_size": 64, "prompts": prompts, "images": images, **changes}
        )

    return make


def first_unit(job: JobSpec) -> None:
    """What a run leaves that was killed after its first unit."""
    planned = plan(job)
    with open_ledger(planned.job, planned, contents.made_from(planned)) as ledger:
        for shard, index, part in inline.compute(planned, STAGES, [(0, 0)]):
            ledger.commit(shard, index, part)


def everything(out: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(out).rglob("*") if path.is_file() and path.name != ".lock"}


CHANGES = {
    "a picture came": (lambda at: picture(at / "in" / "3a.bmp", 9), "images.path: .*6 images of .*7 images of"),
    "a picture went": (lambda at: os.remove(at / "in" / "0.bmp"), "images.path: .*6 images of .*5 images of"),
    "a picture was renamed": (lambda at: (at / "in" / "5.bmp").rename(at / "in" / "00.bmp"), "images.path: "),
    "two pictures were exchanged": (
        lambda at: [
            (at / "in" / a).rename(at / "in" / b) for a, b in (("1.bmp", "x"), ("2.bmp", "1.bmp"), ("x", "2.bmp"))
        ],
        "of another name, order or content",
    ),
    "a picture was edited": (lambda at: picture(at / "in" / "4.bmp", 99), "images.path: what it names has changed"),
    "the poses were replaced": (
        lambda at: np.savez(
            at / "poses.npz", pose=np.ones((6, 72)), betas=np.zeros((6, 10)), camera=np.ones((6, 3)),
            imgname=[f"{i}.bmp" for i in range(6)],
        ),
        "poses.path: what it names has changed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("records", [0, 6])
@pytest.mark.parametrize("change", CHANGES)
def test_inputs_that_changed_are_refused_and_nothing_is_touched(real, tmp_path, change, records):
    alter, words = CHANGES[change]
    job = real(records=records)
    first_unit(job)
    before = everything(job.output)
    alter(tmp_path)
    with pytest.raises(UserError, match=f"holds another job's data .*{words}"):
        run_job(job, STAGES)
    assert everything(job.output) == before


def test_keypoints_that_changed_are_refused(real, tmp_path):
    job = real(keypoints=True)
    first_unit(job)
    np.savez(tmp_path / "keypoints.npz", imgname=[f"{i}.bmp" for i in range(6)], part=np.full((6, 24, 3), 2.0))
    with pytest.raises(UserError, match=r"images\.keypoints: what it names has changed"):
        run_job(job, STAGES)


def test_the_same_inputs_under_another_path_go_on(real, tmp_path):
    """Moved, copied without its times, or written with a slash at the end."""
    whole = real(output=str(tmp_path / "whole"))
    run_job(whole, STAGES)
    job = real()
    first_unit(job)
    (tmp_path / "moved").mkdir()
    for name in ("in", "poses.npz"):
        (shutil.copytree if name == "in" else shutil.copy)(tmp_path / name, tmp_path / "moved" / name)
    for path in (tmp_path / "moved").rglob("*"):
        os.utime(path, (1, 1))
    assert run_job(real(tmp_path / "moved", slash="/"), STAGES).units_found == 1
    assert tree(job.output) == tree(whole.output)
    sources = [row["source"] for row in open_data(job.output).rows.to_pylist()]
    assert sources == [f"{i}.bmp" for i in range(6)] and verify(job.output).ok


def test_a_model_or_prompt_set_under_another_path_goes_on(real, values, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(b"weights")
        (tmp_path / name / "config.yaml").write_text("_BASE_: base.yaml\nMODEL: {DEPTH: 50}\n")
        (tmp_path / name / "base.yaml").write_text("INPUT: {MIN: 8}\n")
        (tmp_path / f"{name}.yaml").write_text("action: [walking]\n")

    def job(name: str) -> JobSpec:
        stages = json.loads(json.dumps(values["stages"]))
        stages["refine"]["model"] = str(tmp_path / name)
        stages["estimate"]["detector"] |= {"kind": "detectron2", "config": str(tmp_path / name / "config.yaml")}
        prompts = {"template": "{action}", "set": str(tmp_path / f"{name}.yaml")}
        return JobSpec.model_validate({**values, "image_size": 64, "stages": stages, "prompts": prompts})

    run_job(job("one"), STAGES)
    assert run_job(job("two"), STAGES).units_done == 0
    (tmp_path / "two" / "base.yaml").write_text("INPUT: {MIN: 9}\n")
    with pytest.raises(UserError, match=r"stages\.estimate\.detector\.config: what it names has changed"):
        run_job(job("two"), STAGES)
    (tmp_path / "two.yaml").write_text("action: [diving]\n")
    with pytest.raises(UserError, match=r'prompts\.action: 1 of 1 only there, such as "walking", 1 of 1 only here'):
        run_job(job("two"), STAGES)


def test_what_lies_beside_a_model_counts(real, values, tmp_path):
    """SMPL's loader reads a second regressor beside its file."""
    from factory.models.hmr.spin import MEAN_PARAMS
    from factory.weights.smpl_file import EXTRA_FILE

    assert set(contents.ALSO_READ.values()) == {EXTRA_FILE, MEAN_PARAMS}
    (tmp_path / "SMPL_NEUTRAL.pkl").write_bytes(b"body")
    (tmp_path / EXTRA_FILE).write_bytes(b"regressor")
    body = {"model": str(tmp_path / "SMPL_NEUTRAL.pkl"), "name": "smpl"}
    job = JobSpec.model_validate({**values, "image_size": 64, "body": body})
    run_job(job, STAGES)
    (tmp_path / EXTRA_FILE).write_bytes(b"another")
    with pytest.raises(UserError, match=rf"body\.model \({EXTRA_FILE}\): what it names has changed"):
        run_job(job, STAGES)


def older(job: JobSpec) -> None:
    """job.json as versions wrote it that knew of models alone."""
    path = Path(job.output, "job.json")
    stored = json.loads(path.read_text())
    models = {name: told for name, told in stored.pop("inputs").items() if name.endswith("model")}
    path.write_text(json.dumps({**stored, "models": models}))


def test_data_begun_by_an_older_version_go_on_and_are_guarded_from_then_on(real, tmp_path):
    job = real()
    first_unit(job)
    older(job)
    run_job(job, STAGES)
    stored = json.loads(Path(job.output, "job.json").read_text())
    assert stored["inputs"] == contents.made_from(plan(job)) and "models" not in stored
    picture(tmp_path / "in" / "5.bmp", 77)
    with pytest.raises(UserError, match=r"images\.path: what it names has changed"):
        run_job(job, STAGES)


def test_data_begun_by_an_older_version_with_other_images_are_refused(real, tmp_path):
    """Its job.json tells no images, its rows do: no picture is doubled or lost."""
    job = real(records=6)
    first_unit(job)
    older(job)
    before = everything(job.output)
    (tmp_path / "in" / "5.bmp").rename(tmp_path / "in" / "00.bmp")
    np.savez(
        tmp_path / "poses.npz", pose=np.zeros((6, 72)), betas=np.zeros((6, 10)), camera=np.ones((6, 3)),
        imgname=["0.bmp"] * 6,
    )  # fmt: skip
    with pytest.raises(
        UserError, match=r"begun with other images \(images\.path: small-00000001 is of 1.bmp there, of 0"
    ):
        run_job(job, STAGES)
    assert everything(job.output) == before


def test_a_finished_data_set_needs_its_images_no_more(real, tmp_path):
    """An unfinished one does, and is not touched."""
    job = plan(real()).job
    run_job(job, STAGES)
    other = plan(real(output=str(tmp_path / "other"))).job
    first_unit(other)
    before = everything(other.output)
    shutil.rmtree(tmp_path / "in")
    assert run_job(job, STAGES).units_done == 0
    with pytest.raises(UserError, match="no such folder"):
        run_job(other, STAGES)
    assert everything(other.output) == before


def test_one_of_2000_actions_edited_is_told_in_a_line(values, tmp_path):
    actions = [f"an action that is called number {i} and has a long description {'so ' * 10}" for i in range(2000)]
    job = JobSpec.model_validate({**values, "prompts": {"action": actions}})
    with open_ledger(job, plan(job)):
        pass
    edited = [*actions[:700], "knitting", *actions[701:]]
    other = JobSpec.model_validate({**values, "seed": 3, "prompts": {"action": edited}})
    with pytest.raises(UserError) as caught:
        run_job(other, STAGES)
    line = str(caught.value)
    assert "seed: 0 there, 3 here" in line and len(line) < 600
    assert "prompts.action: 1 of 2,000 only there" in line and 'only here, such as "knitting"' in line
    many = JobSpec.model_validate({**values, "seed": 3, "image_size": 64, "records": 9, "unit_size": 1, "cycles": 2})
    with pytest.raises(UserError, match=r"seed: .*and 3 more\); undo that or write elsewhere"):
        run_job(many, STAGES)


words = st.one_of(st.lists(st.text(max_size=200), max_size=40), st.dictionaries(st.text(max_size=50), st.just(1.0)))


@given(words, words)
def test_two_jobs_differ_in_short_lines_or_not_at_all(one, other):
    def job(action):
        values = {"name": "a", "output": "o", "records": 1, "body": {"model": "b", "name": "b"}}
        model = {"model": "m"}
        stages = {"generate": model, "refine": model, "estimate": {"hmr": model, "prior": model, "detector": model}}
        return JobSpec.model_validate({**values, "stages": stages, "prompts": {"action": action}})

    lines = differences(job(one), {}, job(other), {})
    assert bool(lines) == (job_identity(job(one)) != job_identity(job(other)))
    assert all(len(line) < 400 for line in lines)

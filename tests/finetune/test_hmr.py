"""`factory finetune hmr`: what it learns, writes, resumes and refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.finetune.hmr import Result, finetune_hmr
from factory.finetune.options import FinetuneOptions
from factory.finetune.sources import chosen_images, known_people, real_people, synthetic_people
from factory.job import JobSpec
from factory.models.hmr import spin
from factory.models.hmr.choice import load_hmr
from factory.models.hmr.spin import load_hmr_network
from factory.record import Unit
from factory.stages.estimate import Estimate
from factory.store.dataset import open_data
from tests.support.command import refused
from tests.support.labelled_people import write_people
from tests.support.records import SIZE, record
from tests.support.smpl_files import write_pickle


def tune(out: Path, start: Path, real: Path | None, **values: Any) -> Result:
    values = {"steps": 4, "every": 2, "batch": 8, "rate": 1e-3, "threads": 1, **values}
    return finetune_hmr(FinetuneOptions(model=str(start), out=out, real=str(real) if real else None, **values))


def written(out: Path) -> tuple[bytes, bytes]:
    """The bytes of the model's weights and of the curve."""
    return (out / "model/model.safetensors").read_bytes(), (out / "curve.jsonl").read_bytes()


TINY = {"layers": [1, 1, 1, 1], "width": 8, "hidden": 32, "crop": 64}
METHODS = {"2d": {}, "self": {}, "spin-ft": {"fit_steps": 4}, "dapa": {}, "ours": {}}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_what_it_is_shown_and_goes_on_as_if_it_had_not_stopped(
    method, tmp_path, start, real, synthetic
):
    pairs = {"synthetic": [str(synthetic)]} if method == "ours" else {}
    values = {"method": method, "every": 3, **METHODS[method], **pairs}
    tune(tmp_path / "cut", start, real, steps=3, **values)
    result = tune(tmp_path / "cut", start, real, steps=9, **values)
    assert tune(tmp_path / "whole", start, real, steps=9, **values).curve == result.curve
    assert written(tmp_path / "cut") == written(tmp_path / "whole")

    first, last = result.curve[1], result.curve[-1]
    assert [point["step"] for point in result.curve] == [0, 3, 6, 9]
    assert last["2d real"] < first["2d real"]
    assert ("pose" in last) == (method != "2d") and ("3d" in last) == (method not in ("2d", "spin-ft"))
    if pairs:
        assert last["loss"] < first["loss"]
    assert [json.loads(line) for line in (tmp_path / "cut/curve.jsonl").read_text().splitlines()] == result.curve
    before, after = load_hmr_network(str(start)).state_dict(), load_hmr_network(str(result.model)).state_dict()
    assert result.best_step == 9  # without --validation the last weights count
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_other_labelled_images_are_the_method_controlnet(tmp_path, start, real, synthetic):
    """It is trained as ours is: the two differ by the images they are given."""
    for method in ("ours", "controlnet"):
        tune(tmp_path / method, start, real, method=method, synthetic=[str(synthetic)], steps=1)
    assert written(tmp_path / "ours") == written(tmp_path / "controlnet")


def test_none_measures_and_copies_the_start(tmp_path, start, held_out):
    result = tune(tmp_path, start, None, method="none", validation=str(held_out))
    [point] = result.curve
    assert point["step"] == 0 and point["PA-MPJPE"] > 0 and point["MPJPE"] > 0 and 0 <= point["PCK"] <= 100
    before, after = load_hmr_network(str(start)).state_dict(), load_hmr_network(str(result.model)).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_best_weights_are_kept_and_a_flat_curve_ends_the_training(tmp_path, start, real, held_out):
    """A rate that is too high makes the network worse: the start stays the best."""
    known = {"validation": str(held_out), "every": 1, "steps": 50, "patience": 2}
    result = tune(tmp_path, start, real, rate=0.02, **known)
    best = min(result.curve, key=lambda point: point["PA-MPJPE"])
    assert result.best_step == best["step"]
    assert result.steps == best["step"] + 2 < 50
    measured = tune(tmp_path / "again", result.model, None, method="none", validation=str(held_out))
    assert measured.curve[0]["PA-MPJPE"] == pytest.approx(best["PA-MPJPE"], rel=1e-5)
    assert tune(tmp_path, start, real, rate=0.02, **known) == result  # nothing is left to do


def test_a_training_that_diverges_says_so(tmp_path, start, real):
    with pytest.raises(UserError, match="step 2: the loss is not finite.*lower --rate"):
        tune(tmp_path, start, real, rate=1e6)


def test_an_estimator_that_was_tuned_serves_a_job(tmp_path, start, real, values, tiny_vposer, tiny_detector):
    model = tune(tmp_path, start, real, steps=1).model
    values["stages"]["estimate"] |= {
        "hmr": {"model": str(model)}, "prior": {"model": str(tiny_vposer)},
        "detector": {"model": str(tiny_detector), "threshold": 0.0},
    }  # fmt: skip
    done = Estimate(JobSpec.model_validate(values | {"image_size": SIZE}))(Unit(0, 0, [record(0)]))
    assert done.records[0].active and done.records[0].people


def test_spins_checkpoint_becomes_one(tmp_path, real, monkeypatch):
    monkeypatch.setattr(spin, "SPIN", TINY)  # a file is taken for a network of this size
    torch.manual_seed(0)
    checkpoint = tmp_path / "model_checkpoint.pt"
    torch.save({"model": spin.SpinHMR(**TINY).state_dict(), "epoch": 60}, checkpoint)
    result = tune(tmp_path / "out", checkpoint, real, batch=2, steps=1)
    assert result.model.is_file()
    stored = torch.load(result.model, weights_only=True)["model"]
    assert {"init_pose", "init_shape", "init_cam", "conv1.weight"} <= stored.keys()
    assert not torch.equal(stored["conv1.weight"], torch.load(checkpoint, weights_only=True)["model"]["conv1.weight"])
    image = np.zeros((100, 100, 3), np.uint8)
    [bodies] = load_hmr("spin", str(result.model)).estimate([image], [np.array([[10.0, 10, 90, 90]])])
    assert len(bodies) == 1


def arguments(out: Path, start: Path, real: Path, synthetic: Path, held_out: Path) -> list[str]:
    return [
        "finetune", "hmr", str(start), "--out", str(out), "--real", str(real), "--method", "ours",
        "--synthetic", str(synthetic), "--validation", str(held_out), "--steps", "6", "--every", "2", "--batch", "8",
        "--threads", "1",
    ]  # fmt: skip


@pytest.mark.heavy(8)
def test_a_training_that_was_killed_goes_on_to_the_same_bytes(tmp_path, start, real, synthetic, held_out, factory):
    whole, cut = (arguments(tmp_path / name, start, real, synthetic, held_out) for name in ("whole", "cut"))
    done = factory(*whole)
    assert done.returncode == 0, done.stderr
    program = [sys.executable, "-u", "-m", "factory.cli", *cut]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("step 2:"):  # its checkpoint is written
                process.kill()
    assert process.returncode == -9
    resumed = factory(*cut)
    assert resumed.returncode == 0 and "resumed after step" in resumed.stdout
    assert written(tmp_path / "cut") == written(tmp_path / "whole")
    assert str(tmp_path / "cut/model") in resumed.stdout


def test_the_checkpoint_of_another_training_is_refused_and_left_alone(tmp_path, start, real, held_out):
    tune(tmp_path, start, real, steps=1)
    before = written(tmp_path)
    with pytest.raises(UserError, match="checkpoint of another training .*batch was 8, not 4"):
        tune(tmp_path, start, real, steps=1, batch=4)
    with pytest.raises(UserError, match="another training"):
        tune(tmp_path, start, held_out, steps=1)
    assert written(tmp_path) == before


def test_a_share_is_part_of_a_larger_one(tmp_path, start, real):
    names = [f"{i}.jpg" for i in range(200)]
    shares = [chosen_images(names, share, seed=3) for share in (0.01, 0.05, 0.5, 1)]
    assert [len(share) for share in shares] == [2, 10, 100, 200]
    assert all(small < large for small, large in pairwise(shares))
    assert chosen_images(names[::-1], 0.05, seed=3) == shares[1] != chosen_images(names, 0.05, seed=4)
    assert tune(tmp_path, start, real, share=0.01, steps=1).steps == 1  # one image is enough


def test_pairs_that_were_made_of_unchosen_images_are_left_out(start, real, data_set, tmp_path):
    everybody = FinetuneOptions(
        model=str(start), out=tmp_path, real=str(real), method="ours", synthetic=[str(data_set)], where="people = 1"
    )
    known = known_people(everybody)
    [people] = synthetic_people(everybody, known)
    assert len(people) == 11
    half = replace(everybody, share=0.5)
    [some] = synthetic_people(half, known)
    source = {row["key"]: row["source"] for row in open_data(data_set).rows.to_pylist()}
    chosen = set(real_people(half).images)
    assert len(chosen) == 6 and {source[key] for key in some.images} <= chosen
    assert {source[key] for key in people.images} & chosen == {source[key] for key in some.images}
    assert tune(tmp_path, start, real, method="ours", synthetic=[str(data_set)], share=0.5, steps=1).steps == 1


def test_what_a_user_can_mend_is_one_line(tmp_path, start, real, synthetic, held_out, data_set, factory):
    def answers(*words: str, **changes: Path | str) -> None:
        given = {"start": start, "real": real, "synthetic": synthetic, "held_out": held_out, **changes}
        refused(factory(*arguments(tmp_path / "out", **given), *extra), *words)
        assert not (tmp_path / "out").exists()

    extra: list[str] = []
    answers("model not found", "/absent", "model_checkpoint.pt", start=tmp_path / "absent")
    answers("no SPIN checkpoint", start=_saved(tmp_path / "other.pt", {"weights": torch.zeros(1)}))
    unknown = np.zeros((2, 24, 3), np.float32)
    blind = write_people(tmp_path / "blind", 2, part=unknown)
    answers("--real", "2D keypoints", real=blind)
    answers("--synthetic", "no bodies", synthetic=real)
    unlabelled = write_people(tmp_path / "unlabelled", 2, has_smpl=np.zeros(2))
    answers("--synthetic", "nobody has a body", synthetic=unlabelled)
    answers("nothing labelled is there", real=tmp_path / "nowhere")
    extra = ["--where", "score > 1000"]
    answers("no sample fits --where 'score > 1000'", synthetic=data_set)
    extra = ["--where", "score > 1000", "--share", "0.1"]
    answers("'score > 1000' among the images of --share 0.1", synthetic=data_set)
    smpl = write_pickle(tmp_path)
    extra = ["--body", str(smpl)]
    answers("its bodies are of open-body", f"--body is {smpl}", synthetic=data_set)
    extra = []
    gone = shutil.copytree(held_out.parent, tmp_path / "gone")
    (gone / "3.png").unlink()
    late = factory(*arguments(tmp_path / "late", start, real, synthetic, gone / "people.npz"))
    assert late.returncode == 2 and "the image 3.png is not in" in late.stderr and late.stderr.count("\n") == 1
    for extra, words in [  # noqa: B007 - read by answers
        (["--share", "0"], "--share 0"),
        (["--mix", "1"], "--mix 1"),
        (["--method", "2d"], "--synthetic: --method 2d takes none"),
        (["--method", "magic"], "there are none, 2d, spin-ft, dapa"),
        (["--batch", "6", "--workers", "4"], "--batch 6 cannot be divided among 4 workers"),
        (["--where", "score > 1"], "has no index"),
        (["--prior", "vposer-v3=x"], "vposer-v1 and vposer-v2"),
        (["--body", str(tmp_path / "SMPL_NEUTRAL.npz")], "SMPL_NEUTRAL.npz"),
    ]:
        answers(words)


def _saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path

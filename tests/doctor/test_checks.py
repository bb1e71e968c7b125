"""The doctor: a checklist that says what is missing, from where and under which licence; never a traceback."""

import sys
from pathlib import Path

import pytest
import torch

from factory.doctor import checks as doctor
from factory.doctor.finding import Finding
from factory.job import JobSpec
from factory.stages.peaks import peaks
from tests.support.command import ROOT, Run
from tests.support.smpl_files import write_pickle


def findings(spec: JobSpec) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.checks(spec)}


def test_a_bare_machine_gets_a_checklist(factory: Run) -> None:
    result = factory("doctor", ROOT / "jobs" / "paper-smart-text.yaml")
    assert result.returncode == 1 and "Traceback" not in result.stderr + result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("no")]
    for field, licence in (
        ("stages.generate.model", "OpenRAIL"),
        ("stages.estimate.prior.model", "non-commercial"),
        ("body.model", "smpl.is.tue.mpg.de"),
        ("stages.refine.model", "OpenRAIL++-M"),
    ):
        line = next(line for line in lines if field in line)
        assert licence in line and "from " in line


def test_without_torch_it_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    finding = next(finding for finding in doctor.checks(None) if finding.name == "torch")
    assert finding.fault and "pip install" in finding.says


def test_what_a_folder_lacks(values: dict, tmp_path: Path) -> None:
    folder = tmp_path / "V02_05"
    folder.mkdir()
    (folder / "V02_05.yaml").write_text("")
    values["stages"]["estimate"]["prior"] = {"kind": "vposer-v2", "model": str(folder)}
    body = write_pickle(tmp_path)
    values["body"]["model"] = str(body)
    checks = findings(JobSpec(**values))
    assert "lacks snapshots/*.ckpt; get V02_05 from https://smpl-x" in checks["stages.estimate.prior.model"].says
    assert checks["body.model"].ok
    body.with_name("J_regressor_extra.npy").unlink()
    finding = findings(JobSpec(**values))["body.model"]
    assert finding.fault and "J_regressor_extra.npy must lie beside" in finding.says


def test_packages_that_the_choices_need(values: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    values["stages"]["estimate"]["hmr"] = {"kind": "bev", "model": "models/BEV.pth"}
    values["stages"]["estimate"]["detector"] = {"kind": "detectron2", "model": "models/model_final_f10217.pkl"}
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    checks = findings(JobSpec(**values))
    assert "pip install" in checks["simple_romp"].says and "mask2former" in checks["detectron2"].says
    how = checks["detectron2"].says  # its setup imports torch; an unpinned torchvision would replace torch
    assert "--no-build-isolation" in how and how.count("-c constraints.txt") == 2 and "CPU build of torch" in how
    assert "releases of https://github.com/Arthur151/ROMP" in checks["stages.estimate.hmr.model"].says
    given = JobSpec(**{**values, "poses": {"path": "poses.npz"}})  # the estimator still scores the images
    assert "pip install" in findings(given)["simple_romp"].says
    values["stages"]["estimate"]["hmr"] = {"kind": "hmr2", "model": "models/hmr2"}
    assert "no installed package brings hmr2" in findings(JobSpec(**values))["stages.estimate.hmr.kind"].says


def test_every_stage_is_run_for_its_peak(tiny_job) -> None:
    nobody_found = tiny_job(estimate={"detector": {"threshold": 1.0}})
    measured = dict(peaks(nobody_found))  # the last stage runs as well
    assert list(measured) == ["generate", "estimate", "render", "refine"]
    assert all(isinstance(peak, int) for peak in measured.values()), measured
    assert (measured["refine"] > 0) == torch.cuda.is_available()


def test_what_a_stage_runs_into_is_told(tiny_job) -> None:
    measured = dict(peaks(tiny_job(refine={"model": "/no/such/folder"})))
    assert "UserError: model not found: /no/such/folder" in str(measured["refine"])
    assert isinstance(measured["generate"], int)


def test_a_fault_of_the_inputs_is_told_once(values: dict, tmp_path: Path) -> None:
    values["images"] = {"path": str(tmp_path / "nowhere")}
    del values["prompts"], values["records"], values["stages"]["generate"], values["stages"]["estimate"]["easy"]
    faults = [finding for finding in doctor.checks(JobSpec(**values)) if finding.fault]
    assert [(fault.name, fault.says[:14]) for fault in faults] == [("images.path", "no such folder")]


def test_an_output_that_cannot_be_written_is_told_before_a_run(factory: Run, job_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    planned, looked = factory("plan", job_file), factory("doctor", job_file)
    assert planned.returncode == 0 and "not yet: output: " in planned.stdout and "leads to no folder" in planned.stdout
    line = next(line for line in looked.stdout.splitlines() if " output " in line)
    assert looked.returncode == 1 and line.startswith("no") and "leads to no folder" in line

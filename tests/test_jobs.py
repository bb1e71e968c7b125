"""The shipped jobs: each can be planned on a bare machine, and says what the paper says."""

import jsonschema
import pytest
import yaml

from factory.config import load_job
from factory.errors import UserError
from factory.plan import plan
from tests.support.command import ROOT
from tests.support.schemas import stored_schema

JOBS = sorted((ROOT / "jobs").glob("*.yaml")) + sorted((ROOT / "jobs" / "modes").glob("*.yaml"))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_job_can_be_planned(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert plan(load_job(path)).records > 0
    levels = len(path.relative_to(ROOT).parts) - 1
    assert path.read_text().startswith(f"# yaml-language-server: $schema={'../' * levels}schemas/job.schema.json\n")
    jsonschema.validate(yaml.safe_load(path.read_text()), stored_schema("job"))


def test_examples_find_their_images_and_poses(monkeypatch):
    monkeypatch.chdir(ROOT)
    augmented = plan(load_job(ROOT / "jobs" / "modes" / "augment.yaml"))
    records = [augmented.record(i) for i in range(augmented.records)]
    assert len(records) == 18 and [r.variant for r in records[:4]] == [0, 1, 2, 0]
    assert records[0].source == records[2].source == "diving.jpg" != records[3].source
    assert records[3].prompt == "a photo of an athlete doing high jump"
    given = plan(load_job(ROOT / "jobs" / "modes" / "poses.yaml"))
    assert [given.record(i).source for i in range(given.records)] == list("012345")


def test_text_jobs_draw_the_papers_prompts():
    mpii, smart = (plan(load_job(ROOT / "jobs" / f"paper-{name}-text.yaml")) for name in ("mpii", "smart"))
    assert (mpii.records, smart.records) == (10_000, 10_000)
    assert {smart.record(i).prompt for i in range(200)} == {
        f"a photo of an athlete doing {action}" for action in smart.job.prompts.action
    }
    assert mpii.job.stages.estimate.easy == "drop" and not mpii.job.stages.refine.random_latents


@pytest.mark.parametrize(("name", "kind"), [("smart", "smart"), ("skipose", "skipose")])
def test_finetuning_jobs_wait_for_their_images(name, kind):
    planned = plan(load_job(ROOT / "jobs" / f"paper-{name}-finetune.yaml"))
    assert planned.job.images.kind == kind and planned.variants == 3
    with pytest.raises(UserError, match=r"images\.path: .* is missing"):
        planned.record(0)

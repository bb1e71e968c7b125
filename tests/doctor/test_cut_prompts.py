"""`factory plan` and the doctor say which prompts a model will not read to their end."""

from pathlib import Path

import yaml

from factory.doctor.cut_prompts import cut_prompts
from factory.engine.run import run_job
from factory.job import JobSpec
from factory.plan import plan
from factory.store.dataset import open_data
from factory.store.verify import verify
from tests.support.command import Run
from tests.support.tiny_models import LONG


def told(spec: JobSpec, **prompts: object) -> dict[str, str]:
    changed = spec.model_copy(update={"prompts": spec.prompts.model_copy(update=prompts)})
    return dict(cut_prompts(plan(changed)))


def test_the_plan_counts_the_prompts_that_are_cut(tiny_job) -> None:
    found = told(tiny_job(), template="{person} doing {action}", person=["a man"], action=["yoga", LONG, "a dive"])
    assert list(found) == ["stages.generate.model", "stages.refine.model"]
    says = found["stages.generate.model"]
    limit = "prompts longer than the 16 tokens that StableDiffusionPipeline reads: 1 of 3; it stops after '"
    assert says.startswith(limit) and says.endswith(" is left out")


def test_prompts_that_fit_are_not_mentioned(tiny_job) -> None:
    assert told(tiny_job(), template="{action}", action=["yoga", "a dive"]) == {}


def test_more_texts_than_can_be_looked_at_are_said_to_be_a_sample(tiny_job, monkeypatch) -> None:
    monkeypatch.setattr("factory.doctor.cut_prompts.MOST", 20)
    actions = [f"{LONG} {i}" for i in range(60)]
    spec = tiny_job().model_copy(update={"records": 30})
    found = told(spec, template="{action}", action=actions)
    assert " that were looked at; it stops after" in found["stages.refine.model"]


def test_a_model_that_is_not_here_tells_nothing(tiny_job) -> None:
    spec = tiny_job(generate={"model": "owner/name"}, refine={"model": "/no/such/folder"})
    assert told(spec, template="{action}", action=[LONG]) == {}


def test_factory_plan_says_it(tiny_job, factory: Run, tmp_path: Path) -> None:
    values = tiny_job().model_dump(exclude_none=True)
    values["prompts"] = {"template": "{action}", "action": [LONG]}
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(values))
    result = factory("plan", file)
    assert result.returncode == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if line.startswith("stages.generate.model"))
    assert "prompts longer than the 16 tokens that StableDiffusionPipeline reads: 1 of 1; it stops after" in line


def test_a_run_with_prompts_that_are_cut_is_sound_and_stores_what_was_read(tiny_job) -> None:
    spec = tiny_job().model_copy(update={"prompts": tiny_job().prompts.model_copy(update={"template": LONG})})
    run_job(spec)
    prompts = set(open_data(spec.output).rows["prompt"].to_pylist())
    assert len(prompts) == 1 and LONG not in prompts and LONG.startswith(prompts.pop())
    report = verify(spec.output)
    assert report.complete and not report.problems

"""Each way of guiding, small, on the starter pack: under Ray the same bytes as in one process, and the
bytes that were recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from factory.config import load_job
from factory.engine.run import run_job
from tests.support.command import ROOT
from tests.support.environment import environment
from tests.support.files import tree

DIGESTS = json.loads((ROOT / "tests" / "support" / "digests.json").read_text())
MODES = sorted((ROOT / "jobs" / "modes").glob("*.yaml"))
SMALL = {
    "records": 4,
    "unit_size": 2,
    "samples_per_shard": 4,
    "stages.generate.steps": 4,
    "stages.estimate.detector.threshold": 0.05,  # after so few steps nobody is clearly seen
    "stages.render.min_coverage": 0,
    "stages.render.min_inside": 0,
    "stages.refine.steps": 4,
}


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    """One Ray for all modes, where their jobs' paths begin."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # see engine.session
        ray.init(address="local", num_cpus=12, num_gpus=0, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A mode's job -> its data set, small, made in one process; made once."""
    return cache(lambda path: make(path, "inline", tmp_path_factory.mktemp(path.stem)))


def make(path: Path, engine: str, out: Path) -> Path:
    overrides = [f"{name}={value}" for name, value in SMALL.items()]
    job = load_job(path, [*overrides, f"engine={engine}", f"output={out}"])
    summary = run_job(job.model_copy(update={"cycles": min(job.cycles, 2)}))
    assert summary.states.get("ok") and not summary.states.get("failed"), summary
    return out


@pytest.mark.slow
@pytest.mark.parametrize("path", MODES, ids=lambda path: path.stem)
def test_both_engines_make_the_same_bytes(path: Path, inline, tmp_path: Path, ray_session: None) -> None:
    assert tree(make(path, "ray", tmp_path / "ray")) == tree(inline(path))


@pytest.mark.slow
@pytest.mark.parametrize("name", DIGESTS["tars"])
def test_the_bytes_are_those_that_were_recorded(name: str, inline, monkeypatch) -> None:
    """On the machine that recorded them: a change of the code that should not change samples does not."""
    here, there = environment(), DIGESTS["environment"]
    if differ := [
        f"{field} is {here.get(field)}, not {there[field]}" for field in there if here.get(field) != there[field]
    ]:
        pytest.skip(f"recorded in another environment: {'; '.join(differ)}")
    monkeypatch.chdir(ROOT)  # where the jobs' paths begin
    out = inline(ROOT / "jobs" / "modes" / f"{name}.yaml")
    digests = {tar.name: hashlib.sha256(tar.read_bytes()).hexdigest() for tar in sorted(out.glob("*.tar"))}
    assert digests == DIGESTS["tars"][name], "record them anew only where samples are meant to change"

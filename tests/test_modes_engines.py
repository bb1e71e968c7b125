"""Each way of guiding, small, on the starter pack: under Ray the same bytes as in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.config import load
from factory.engine.run import run
from tests.support.command import ROOT
from tests.support.files import tree

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


@pytest.mark.slow
@pytest.mark.parametrize("path", MODES, ids=lambda path: path.stem)
def test_both_engines_make_the_same_bytes(path: Path, tmp_path: Path, ray_session: None) -> None:
    made = {}
    for engine in ("inline", "ray"):
        overrides = [f"{name}={value}" for name, value in SMALL.items()]
        job = load(path, [*overrides, f"engine={engine}", f"output={tmp_path / engine}"])
        summary = run(job.model_copy(update={"cycles": min(job.cycles, 2)}))
        assert summary.states.get("ok") and not summary.states.get("failed"), summary
        made[engine] = tree(tmp_path / engine)
    assert made["ray"] == made["inline"]

"""On a real Ray: the same bytes as inline, whoever is killed."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.engine import cluster, lookout
from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.store.dataset import open_data
from factory.store.verify import verify
from tests.chaos.arena import prove
from tests.chaos.faults import actors_killed_again_and_again, node_lost
from tests.support.files import tree
from tests.support.nodes import Nodes
from tests.support.run_to_kill import kill_run_after
from tests.support.seeded_stages import (
    STAGES,
    Depth,
    Draw,
    Exits,
    ExitsEarly,
    Finish,
    Hang,
    People,
    Poison,
    Slow,
    Stops,
    Victim,
)

pytestmark = pytest.mark.heavy(6)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """One Ray, of two nodes, for the tests of this file: starting one takes seconds."""
    with Nodes() as nodes:
        yield nodes


@pytest.fixture
def on_ray(job: JobSpec, tmp_path: Path) -> JobSpec:
    return job.model_copy(update={"engine": "ray", "output": str(tmp_path / "ray")})


def with_workers(job: JobSpec, stage: str, **changes: object) -> JobSpec:
    stages = job.model_dump()["stages"]
    stages[stage].update(changes)
    return JobSpec.model_validate({**job.model_dump(), "stages": stages})


def test_ray_and_inline_give_the_same_bytes(job, on_ray, nodes, monkeypatch):
    """With two workers to a stage, units come in any order; two waves, of which the second is short."""
    monkeypatch.setattr(cluster, "WAVE", 4)
    run_job(job, STAGES)
    kinds = []
    summary = run_job(with_workers(on_ray, "generate", workers=2), STAGES, lambda event: kinds.append(event.kind))
    assert summary.states == {"ok": 17, "rejected": 4, "failed": 1}
    assert sorted(kinds) == ["resumed"] + ["sealed"] * 3 + ["unit"] * 6
    assert tree(on_ray.output) == tree(job.output)


def test_actor_killed_in_mid_run(job, on_ray, nodes):
    """Its unit is done again by a new process; nothing is lost, nothing comes twice."""
    on_ray, job = (j.model_copy(update={"records": 61}) for j in (on_ray, job))
    run_job(job, STAGES)
    pids = []

    def kill_once(event) -> None:
        if event.kind == "unit" and not pids:
            calls = Path(on_ray.output + ".calls")
            pids.append(int(max(calls.iterdir(), key=lambda path: path.stat().st_mtime_ns).suffix[1:]))
            os.kill(pids[0], signal.SIGKILL)

    summary = run_job(on_ray, [Draw, People, Victim, Finish], kill_once)
    assert summary.states == {"ok": 48, "rejected": 12, "failed": 1}
    used = {int(path.suffix[1:]) for path in Path(on_ray.output + ".calls").iterdir()}
    assert pids[0] in used and len(used) > 1
    assert tree(on_ray.output) == tree(job.output) and verify(on_ray.output).ok


@pytest.mark.parametrize(
    ("stage", "error"),
    [(Poison, "its worker died"), (Hang, "took longer than 2 s"), (Stops, "took longer than 2 s")],
)
def test_a_record_that_kills_or_holds_its_worker_fails_alone(job, on_ray, nodes, stage, error):
    run_job(job, STAGES)
    kinds = []
    on_ray = on_ray.model_copy(update={"max_unit_seconds": 2.0})
    run_job(on_ray, [Draw, People, stage, Finish], lambda event: kinds.append(event.kind))
    assert kinds.count("isolating") in (1, 2) and kinds.count("unit") == 6  # 2: another unit waited in that worker
    good, rows = (open_data(j.output).rows.to_pylist() for j in (job, on_ray))
    found = rows.pop(5)
    told = [found[name] for name in ("state", "stage", "error", "attempts")]
    assert told == ["failed", "render", error, 5]
    good.pop(5)
    for row in good + rows:
        del row["offset"], row["size"]
    assert rows == good
    assert verify(on_ray.output).ok


def test_a_library_that_ends_its_process_fails_one_record(job, on_ray, nodes):
    """As it does inline. On Ray the run waited for ever."""
    run_job(job, [Draw, People, Exits, Finish])
    run_job(on_ray, [Draw, People, Exits, Finish])
    assert tree(on_ray.output) == tree(job.output)


def test_a_library_that_ends_its_process_while_it_loads(on_ray, nodes):
    with pytest.raises(UserError, match=r"stages.render cannot start: .*it called sys.exit\(1\)"):
        run_job(on_ray, [Draw, People, ExitsEarly, Finish])


def test_a_run_that_gets_nothing_done_says_what_it_waits_for(on_ray, nodes, monkeypatch):
    monkeypatch.setattr(lookout, "FIRST", 0.1)
    monkeypatch.setattr(lookout, "LOOK", 0.1)
    waits = []
    run_job(on_ray, [Draw, People, Slow, Finish], lambda event: event.kind == "waiting" and waits.append(event.message))
    assert waits and all("no unit finished since" in line and "\n" not in line for line in waits)
    assert any("of 4 workers" in line and ("up" in line or "starting" in line) for line in waits)


class NoWeights(Depth):
    def setup(self) -> None:
        raise UserError("stages.render.model: not there")


def test_a_stage_that_cannot_be_set_up_stops_the_run(on_ray, nodes):
    with pytest.raises(UserError, match="not there"):
        run_job(on_ray, [Draw, People, NoWeights, Finish])
    assert not list(Path(on_ray.output).glob("parts"))


@pytest.mark.parametrize(("changes", "words"), [
        ({"gpus": 0.5}, "0.5 GPUs"), ({"gpus": 1, "workers": 4096}, r"4096 GPUs.*lower stages\.\*\.gpus or workers"),
        ({"cpus": 1000}, "CPUs"),
    ],
)  # fmt: skip
def test_more_than_there_is_is_refused_before_anything_is_touched(on_ray, nodes, changes, words):
    with pytest.raises(UserError, match=words):
        run_job(with_workers(on_ray, "refine", **changes), STAGES)
    assert not Path(on_ray.output).exists()


@pytest.mark.parametrize("fault", [actors_killed_again_and_again, node_lost], ids=lambda fault: fault.__name__)
def test_whoever_dies_nothing_is_lost_or_doubled(nodes, fault):
    """See tests/chaos, which does more."""
    prove(fault, nodes)


def test_driver_killed_under_ray(job, on_ray, nodes):
    """A Ray of its own, gone with it; the next run goes on."""
    run_job(job, STAGES)
    assert kill_run_after(on_ray, random.Random(3).randint(2, 4))[0] == "resumed 6 units to do\n"
    summary = run_job(on_ray, STAGES)
    assert 1 <= summary.units_found < 6
    assert tree(on_ray.output) == tree(job.output) and verify(on_ray.output).ok


def test_a_cluster_that_does_not_answer(on_ray):
    import ray

    ray.shutdown()  # from here on no test of this file has a Ray from before
    with pytest.raises(UserError, match="ray_address: no cluster answers"):
        run_job(on_ray.model_copy(update={"ray_address": "127.0.0.1:9"}), STAGES)
    assert not Path(on_ray.output).exists()


def test_a_stopped_run_ends_its_stream_before_its_ray(on_ray, monkeypatch):
    """The other way round Python tells people of exceptions that nobody can catch."""
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: ignored.append(told.exc_value))

    def stop(event) -> None:
        if event.kind == "unit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(on_ray, STAGES, stop)
    gc.collect()
    assert not ignored

"""What can happen to a run. Each fault disturbs one and sees it through to its end."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.engine.run import run
from factory.errors import UserError
from factory.store import lock
from factory.store.verify import repair
from tests.chaos.arena import UNITS, Arena
from tests.chaos.drive import REFUSED, STOPPED
from tests.chaos.stages import LINES, calls


def driver_killed_inline(arena: Arena) -> None:
    arena.disturb(arena.on("inline"), lambda process: process.kill())
    arena.finish("inline")


def driver_killed_own_ray(arena: Arena) -> None:
    arena.disturb(arena.on("ray"), lambda process: process.kill())
    arena.finish("ray")


def driver_killed_on_cluster(arena: Arena) -> None:
    arena.disturb(arena.on("cluster"), lambda process: process.kill())
    arena.finish("cluster")


def actor_killed(arena: Arena) -> None:
    arena.within(arena.kill_worker)


def actors_killed_again_and_again(arena: Arena) -> None:
    """So that units die twice, and in isolation too."""

    def strike() -> None:
        for _ in range(6):
            arena.kill_worker()
            arena.moment()

    arena.within(strike)


def worker_stopped(arena: Arena) -> None:
    """Wherever it is: no clock in it goes on. It is ended from outside, and its unit done again."""
    arena.within(lambda: arena.kill_worker(signal.SIGSTOP))
    for path in calls(arena.job).iterdir():  # one that was leaving anyway is past its watcher: the run has not waited
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.name), signal.SIGCONT)


def node_lost(arena: Arena) -> None:
    """And replaced, as a cluster of spot machines does."""
    arena.within(lambda: arena.cluster.lose_one(arena.random))


def sigterm_inline(arena: Arena) -> None:
    _stopped(arena, "inline", lambda process: process.terminate())


def sigterm_own_ray(arena: Arena) -> None:
    _stopped(arena, "ray", lambda process: process.terminate())


def ctrl_c_own_ray(arena: Arena) -> None:
    """A terminal sends it to all that runs there, Ray's processes too."""
    _stopped(arena, "ray", lambda process: os.killpg(process.pid, signal.SIGINT))


def _stopped(arena: Arena, engine: str, strike: Callable) -> None:
    code, wrong = arena.disturb(arena.on(engine), strike)
    assert code in (0, STOPPED) and "Traceback" not in wrong, (code, wrong)  # 0: it was done by then
    assert not list(Path(arena.job.output).rglob("*.tmp"))
    arena.finish(engine)


def record_raises(arena: Arena) -> None:
    arena.line, arena.ended = "Raises", "ArithmeticError: guilty"
    run(arena.on("cluster"), LINES[arena.line])


def record_kills_its_worker(arena: Arena) -> None:
    arena.line, arena.ended = "Kills", "its worker died"
    run(arena.on("cluster"), LINES[arena.line])


def record_hangs(arena: Arena) -> None:
    arena.line, arena.ended = "Hangs", "took longer than 3 s"
    run(arena.on("cluster"), LINES[arena.line])


def out_of_memory(arena: Arena) -> None:
    arena.line = "Short"
    run(arena.on("cluster"), LINES[arena.line])


def model_missing(arena: Arena) -> None:
    """Until somebody puts it there."""
    arena.line = "Missing"
    with pytest.raises(UserError, match="no such model"):
        run(arena.on("cluster"), LINES[arena.line])
    Path(arena.job.output + ".model").touch()
    run(arena.on("cluster"), LINES[arena.line])


def two_runs(arena: Arena) -> None:
    """The second one is refused, whenever it comes; the first one does not notice."""

    def second() -> None:
        with arena.drive(arena.on("inline")) as process:
            code, wrong = process.wait(), process.communicate()[1]
            assert code in (0, REFUSED), wrong
            assert code == 0 or "in use" in wrong, wrong  # 0: the first had finished

    arena.within(second)


def job_changed(arena: Arena) -> None:
    arena.disturb(arena.on("inline"), lambda process: process.kill())
    other = arena.on("inline").model_copy(update={"seed": arena.job.seed + 1})
    if any(Path(arena.job.output).glob("job.json")):  # it was killed before it had begun
        with pytest.raises(UserError, match="seed"):
            run(other, LINES["Depth"])
    arena.finish("inline")


def file_damaged(arena: Arena) -> None:
    """A bit flips or the end is lost, of a shard, an index or a part, half way."""
    out = Path(arena.job.output)
    arena.disturb(arena.on("inline"), lambda process: process.kill())
    if files := sorted(path for path in out.rglob("*") if path.is_file() and path.name not in ("job.json", lock.NAME)):
        one = arena.random.choice(files)
        data = bytearray(one.read_bytes())
        if arena.random.random() < 0.5:
            del data[arena.random.randrange(len(data)) :]
        else:
            data[arena.random.randrange(len(data))] ^= 1 << arena.random.randrange(8)
        one.write_bytes(data)
        repair(out)
    arena.finish("inline")


def disk_refuses(arena: Arena) -> None:
    """Full, over its quota, or made read-only after an error; then somebody mends it."""
    number = arena.random.choice([errno.ENOSPC, errno.EDQUOT, errno.EROFS])
    left, sync = iter(range(arena.random.randrange(3 * UNITS))), os.fsync

    def refuse(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="space|quota|read-only"):
        patch.setattr(os, "fsync", refuse)
        run(arena.on("inline"), LINES[arena.line])
    assert not list(Path(arena.job.output).rglob("*.tmp"))
    run(arena.on("inline"), LINES[arena.line])


def output_disturbed(arena: Arena) -> None:
    """The folder is moved away under the run, or its job or its lock is removed; put back when the run has ended."""
    out = Path(arena.job.output)
    what = arena.random.choice([out, out / "job.json", out / lock.NAME])
    aside = out.with_name("aside")
    code, wrong = arena.disturb(arena.on("inline"), lambda process: what.rename(aside) and None)
    assert code in (0, REFUSED) and "Traceback" not in wrong and wrong.count("\n") <= 1, (code, wrong)  # 0: it was done
    if what.name == lock.NAME:
        aside.unlink()
    else:
        aside.rename(what)
    arena.finish("inline")


INLINE: list[Callable[[Arena], None]] = [
    driver_killed_inline, sigterm_inline, job_changed, file_damaged, disk_refuses, output_disturbed,
]  # fmt: skip
OWN_RAY: list[Callable[[Arena], None]] = [driver_killed_own_ray, sigterm_own_ray, ctrl_c_own_ray]
CLUSTER: list[Callable[[Arena], None]] = [
    actor_killed, actors_killed_again_and_again, worker_stopped, node_lost, driver_killed_on_cluster, record_raises,
    record_kills_its_worker, record_hangs, out_of_memory, model_missing, two_runs,
]  # fmt: skip
FAULTS = {fault.__name__: fault for fault in [*INLINE, *CLUSTER, *OWN_RAY]}

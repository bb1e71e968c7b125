"""What can happen to a run. Each fault disturbs one and sees it through to its end."""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.engine.run import run_job
from factory.errors import UserError
from factory.store import lock
from factory.store.mark import MARK_NAME
from factory.store.reopen import retry
from factory.store.verify import repair, verify
from tests.chaos.arena import PATIENCE, SHARDS, UNITS, Arena, images
from tests.chaos.faulty_stages import LINES
from tests.chaos.run_to_disturb import REFUSED, STOPPED
from tests.support import s3
from tests.support.files import tree

STALE = 1.0  # s that a lock outlives its holder in an object store


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


def node_lost(arena: Arena) -> None:
    """And replaced, as a cluster of spot machines does."""
    arena.within(lambda: arena.cluster.lose_one(arena.random))


def sigterm_inline(arena: Arena) -> None:
    _stopped(arena, "inline", "inline", lambda process: process.terminate())


def sigterm_own_ray(arena: Arena) -> None:
    _stopped(arena, "ray", "ray", lambda process: process.terminate())


def ctrl_c_own_ray(arena: Arena) -> None:
    """A terminal sends it to all that runs there, Ray's processes too. The other engine goes on from there."""
    _stopped(arena, "ray", "inline", lambda process: os.killpg(process.pid, signal.SIGINT))


def _stopped(arena: Arena, engine: str, then: str, strike: Callable) -> None:
    code, wrong = arena.disturb(arena.on(engine), strike)
    assert code in (0, STOPPED) and "Traceback" not in wrong, (code, wrong)  # 0: it was done by then
    assert "Ray's process" not in wrong, wrong  # they ended because of the signal
    assert not list(Path(arena.job.output).rglob("*.tmp"))
    arena.finish(then)


def record_raises(arena: Arena) -> None:
    arena.line, arena.ended = "Raises", "ArithmeticError: guilty"
    run_job(arena.on("cluster"), LINES[arena.line])


def record_kills_its_worker(arena: Arena) -> None:
    arena.line, arena.ended = "Kills", "its worker died"
    run_job(arena.on("cluster"), LINES[arena.line])


def record_hangs(arena: Arena) -> None:
    arena.line, arena.ended = "Hangs", "took longer than 3 s"
    run_job(arena.on("cluster"), LINES[arena.line])


def out_of_memory(arena: Arena) -> None:
    arena.line = "Short"
    run_job(arena.on("cluster"), LINES[arena.line])


def model_missing(arena: Arena) -> None:
    """Until somebody puts it there."""
    arena.line = "Missing"
    with pytest.raises(UserError, match="no such model"):
        run_job(arena.on("cluster"), LINES[arena.line])
    Path(arena.job.output + ".model").touch()
    run_job(arena.on("cluster"), LINES[arena.line])


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
            run_job(other, LINES["Depth"])
    arena.finish("inline")


def file_damaged(arena: Arena) -> None:
    """A bit flips or the end is lost, of a shard, an index or a part, half way."""
    out = Path(arena.job.output)
    arena.disturb(arena.on("inline"), lambda process: process.kill())
    if files := sorted(path for path in out.rglob("*") if path.is_file() and path.name not in ("job.json", MARK_NAME)):
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
        run_job(arena.on("inline"), LINES[arena.line])
    assert not list(Path(arena.job.output).rglob("*.tmp"))
    run_job(arena.on("inline"), LINES[arena.line])


def output_disturbed(arena: Arena) -> None:
    """The folder is moved away under the run, or its job or its lock is removed; put back when the run has ended."""
    out = Path(arena.job.output)
    what = arena.random.choice([out, out / "job.json", out / MARK_NAME])
    aside = out.with_name("aside")
    code, wrong = arena.disturb(arena.on("inline"), lambda process: what.rename(aside) and None)
    assert code in (0, REFUSED) and "Traceback" not in wrong and wrong.count("\n") <= 1, (code, wrong)  # 0: it was done
    if what.name == MARK_NAME:
        aside.unlink()
    else:
        aside.rename(what)
    arena.finish("inline")


def export_killed(arena: Arena) -> None:
    """At a random moment; then the record that failed is made anew, so that other samples lie elsewhere in the shards;
    then the same export goes on."""
    out, to, fresh = Path(arena.job.output), arena.root / "export" / "to", arena.root / "fresh" / "to"
    run_job(arena.on("inline"), LINES["Plain"])
    kind, workers = arena.random.choice(["hmr2", "spin"]), arena.random.choice(["1", "2"])
    arguments = ["tests.chaos.export_to_disturb", str(out), str(to), kind, workers]
    arena.disturb(arena.start(*arguments), lambda process: process.kill())
    retry(str(out))
    arena.peace = "Mended"
    run_job(arena.on("inline"), LINES[arena.peace])
    late = []  # exports that were whole before the kill came: they stay as they are
    for folder in (to, fresh):
        with arena.start("tests.chaos.export_to_disturb", str(out), str(folder), kind, "1") as process:
            wrong = process.communicate()[1]
        if process.returncode:
            assert folder == to and "is the whole export of an older state" in wrong, wrong
            late.append(folder)
    if not late:
        assert tree(to) == tree(fresh), to
        arena.exported, arena.exportable = Counter(images(to)), set(images(fresh))


def holder_frozen(arena: Arena) -> None:
    """Within a PUT to an object store, for longer than its lock lasts. Others take the place, do all, retry what failed
    and do that; it wakes at a random moment of these."""
    with s3.server() as url, s3.Proxy(url) as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment(proxy.url).items():
            patch.setenv(name, value)
        patch.setattr(lock, "STALE", STALE)
        local, arena.job = arena.job, arena.job.model_copy(update={"output": f"s3://{s3.BUCKET}/out"})
        shard, unit = arena.random.randrange(SHARDS), arena.random.randrange(UNITS // SHARDS)
        name = arena.random.choice([f"chaos-{shard:06d}", f"parts/{shard:06d}/{unit:06d}"])
        proxy.freeze = name + arena.random.choice([".tar", ".parquet"])
        steps: list[Callable[[], object]] = [
            lambda: run_job(arena.on("inline"), LINES["Plain"]),
            lambda: retry(arena.job.output),
            lambda: run_job(arena.on("inline"), LINES["Mended"]),
        ]
        wakes = arena.random.randrange(len(steps))
        with arena.drive(arena.on("inline"), "Plain", str(STALE)) as zombie:
            arena.remember(zombie.pid)
            assert proxy.held.wait(PATIENCE), proxy.freeze
            zombie.send_signal(signal.SIGSTOP)
            for number, step in enumerate(steps):
                step()
                if number == wakes:
                    proxy.thawed.set()
                    zombie.send_signal(signal.SIGCONT)
            code, wrong = zombie.wait(PATIENCE), zombie.communicate()[1]
        assert code == REFUSED and "was taken over" in wrong and wrong.count("\n") == 1, (code, wrong)
        run_job(arena.on("inline"), LINES["Mended"])
        assert verify(arena.job.output).ok
        arena.job, arena.peace = local, "Mended"
        for name, data in s3.objects(url, "out").items():
            path = Path(local.output, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


INLINE: list[Callable[[Arena], None]] = [
    driver_killed_inline, sigterm_inline, job_changed, file_damaged, disk_refuses, output_disturbed,
    export_killed, holder_frozen,
]  # fmt: skip
OWN_RAY: list[Callable[[Arena], None]] = [driver_killed_own_ray, sigterm_own_ray, ctrl_c_own_ray]
CLUSTER: list[Callable[[Arena], None]] = [
    actor_killed, actors_killed_again_and_again, worker_stopped, node_lost, driver_killed_on_cluster, record_raises,
    record_kills_its_worker, record_hangs, out_of_memory, model_missing, two_runs,
]  # fmt: skip
FAULTS = {fault.__name__: fault for fault in [*INLINE, *CLUSTER, *OWN_RAY]}

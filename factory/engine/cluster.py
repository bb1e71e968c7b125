"""The stages on Ray Data: each a pool of actors, units streaming between them through the object store.

One row of the data set is one unit, in one binary column: so units are never merged or split, and people and failed
records travel as they are. Ray keeps the queues, the backpressure, the restarts and the lost nodes.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pyarrow as pa

from factory.engine.worker import Worker, spec
from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import Plan
from factory.record import Record, Unit
from factory.stages.base import Stage
from factory.store.part import Part, pack

WAVE = 10_000  # units given to Ray at a time: bounds what the driver holds, at the price of loading the models anew
QUEUED = 4  # units per actor that may lie finished but unread, before the stages ahead of them wait
BYTES_PER_PIXEL = 16  # of a record on its way: two images, three masks, a depth; and some room
LEAST_BYTES = 64 * 2**20  # the share of the object store is never kept smaller


def needed(job: JobSpec) -> tuple[float, float]:
    """(CPU cores, GPUs) that all actors hold together."""
    hosts = [job.stages.generate, job.stages.estimate, job.stages.render, job.stages.refine]
    return sum(h.workers * h.cpus for h in hosts), sum(h.workers * h.gpus for h in hosts)


@contextmanager
def session(job: JobSpec) -> Iterator[None]:
    """A Ray that can host the job: the cluster at ray_address, or one of our own for as long as we need it.

    UserError where the cluster does not answer or has too little: Ray itself would wait for ever.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or it warns of Ray Data's own way to make actors
    import ray

    cpus, gpus = needed(job)
    ours = not ray.is_initialized()
    if ours:
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
        if job.ray_address:
            try:
                _knock(job.ray_address)
                with _mute():
                    ray.init(address=job.ray_address, **quiet)
            except OSError as error:
                raise UserError(f"ray_address: no cluster answers at {job.ray_address} ({error})") from None
        else:  # cores are shared without harm, so a small machine may host every stage; GPUs are never made up
            os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: behind all else that the machine does
            with _mute():
                ray.init(address="local", num_cpus=max(os.cpu_count() or 1, math.ceil(cpus)), **quiet)
    try:
        have = ray.cluster_resources()
        for name, want, field in (("GPU", gpus, "gpus"), ("CPU", cpus, "cpus")):
            if want > have.get(name, 0):
                raise UserError(
                    f"stages: the workers hold {want:g} {name}s together and there are {have.get(name, 0):g}; "
                    f"lower stages.*.{field} or workers"
                )
        yield
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _mute() -> Iterator[None]:
    """Ray's C++ side announces on stderr the log level it was told to keep. What goes wrong is raised, not printed."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _knock(address: str) -> None:
    """OSError where nothing listens at host:port: Ray itself would try for minutes. Names such as auto pass."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def compute(
    plan: Plan, stages: list[type[Stage]], ids: Iterable[tuple[int, int]], on_isolate: Callable[[Unit], None]
) -> Iterator[tuple[int, int, Part]]:
    """(shard, index, part) of each unit asked for, once each, as they come.

    A unit whose worker died twice is dropped by Ray. It comes at the end of its wave, redone by `Isolation`.
    """
    todo = iter(ids)
    with session(plan.job):
        while wave := list(islice(todo, WAVE)):
            lost = set(wave)
            for shard, index, part in _stream(plan, stages, wave):
                if (shard, index) in lost:
                    lost.remove((shard, index))
                    yield shard, index, part
            with Isolation(stages, plan.job) as isolation:
                for shard, index in sorted(lost):
                    unit = plan.unit(shard, index)
                    on_isolate(unit)
                    yield shard, index, pack(isolation(unit), plan.job)


class Actor:
    """What Ray hosts: a worker that reads and writes rows, the last of them finished parts."""

    def __init__(self, stage: type[Stage], job: JobSpec, last: bool) -> None:
        self.worker, self.job, self.last = Worker(stage, job), job, last

    def __call__(self, rows: pa.Table) -> pa.Table:
        unit = Unit.from_bytes(rows["unit"][0].as_py())
        unit = self.run(unit)
        if not self.last:
            return _row(unit=unit.to_bytes())
        part = pack(unit, self.job)
        return _row(tar=part.tar, rows=part.rows).append_column("id", pa.array([[unit.shard, unit.index]]))

    def run(self, unit: Unit) -> Unit:
        unit = self.worker(unit)
        if self.worker.broken(unit):
            os._exit(1)  # Ray starts another process and gives it the unit
        return unit


def _row(**columns: bytes) -> pa.Table:
    return pa.table({name: pa.array([value], pa.large_binary()) for name, value in columns.items()})


def _stream(plan: Plan, stages: list[type[Stage]], ids: list[tuple[int, int]]) -> Iterator[tuple[int, int, Part]]:
    import ray
    from ray.data import ActorPoolStrategy

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is told by the index, once and in our words
    dataset = ray.data.from_blocks([_row(unit=plan.unit(*id).to_bytes()) for id in ids])
    _configure(dataset.context, plan.job, stages)
    for stage in stages:
        host = spec(stage, plan.job)
        # Ray 2.60 warns that max_restarts and max_task_retries will have another spelling, and has none yet.
        warnings.filterwarnings("ignore", ".*ray_remote_args.*", category=DeprecationWarning)
        dataset = dataset.map_batches(
            Actor,
            fn_constructor_args=(stage, plan.job, stage is stages[-1]),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=host.cpus,
            num_gpus=host.gpus,
            # One task at a time: what waits in an actor that dies counts as having died too.
            compute=ActorPoolStrategy(size=host.workers, max_tasks_in_flight_per_actor=1),
            max_restarts=-1,
            max_task_retries=1,  # for ever by default: a record that kills its process would
        )
    try:
        for rows in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for i, (shard, index) in enumerate(rows["id"].to_pylist()):
                yield shard, index, Part(rows["tar"][i].as_py(), rows["rows"][i].as_py())
    except ray.exceptions.RayActorError as error:  # a lost unit is no error here, so this is a worker that cannot start
        raise _setup_error(error) from error


def _setup_error(error: Exception) -> Exception:
    """What the stage's setup raised; Ray hands over its text alone."""
    last = str(error).rstrip().splitlines()[-1]
    ours = f"{UserError.__module__}.{UserError.__qualname__}: "
    if last.startswith(ours):
        return UserError(last.removeprefix(ours))
    return RuntimeError(f"a worker cannot start: {last}")


def _configure(context, job: JobSpec, stages: list[type[Stage]]) -> None:
    """Ray's settings for this one data set."""
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a unit that is lost is redone in isolation
    context.execution_no_progress_timeout_s = -1  # a large unit may take an hour
    actors = sum(spec(stage, job).workers for stage in stages)
    unit_bytes = job.unit_size * job.image_size**2 * BYTES_PER_PIXEL
    limits = context.execution_options.resource_limits
    # Without a limit a fast first stage fills the store with work that the slow last stage cannot take.
    limit = max(actors * QUEUED * unit_bytes, LEAST_BYTES)
    context.execution_options.resource_limits = limits.copy(object_store_memory=limit)


class Isolation:
    """Finds the record that kills its worker: the unit again, alone; and if that dies too, record by record."""

    def __init__(self, stages: list[type[Stage]], job: JobSpec) -> None:
        self.stages, self.job = stages, job
        self.actors: dict[type[Stage], Any] = {}

    def __enter__(self) -> Isolation:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for actor in self.actors.values():
            ray.kill(actor)

    def __call__(self, unit: Unit) -> Unit:
        for stage in self.stages:
            done = self._survive(stage, unit)
            unit = done or Unit(unit.shard, unit.index, [self._alone(stage, record) for record in unit.records])
        return unit

    def _alone(self, stage: type[Stage], record: Record) -> Record:
        if not record.active:
            return record
        if done := self._survive(stage, Unit(0, 0, [record])):
            return done.records[0]
        record.fail("its worker died", stage.name)
        record.attempts = 4  # twice in the stream, once with its unit, once alone
        return record

    def _survive(self, stage: type[Stage], unit: Unit) -> Unit | None:
        """The unit one stage further, or None where the worker died of it."""
        import ray

        if stage not in self.actors:
            host = spec(stage, self.job)
            remote = ray.remote(num_cpus=host.cpus, num_gpus=host.gpus)(IsolatedActor)
            self.actors[stage] = remote.remote(stage, self.job, False)
        try:
            return Unit.from_bytes(ray.get(self.actors[stage].isolated.remote(unit.to_bytes())))
        except ray.exceptions.RayActorError:
            del self.actors[stage]
            return None


class IsolatedActor(Actor):
    def isolated(self, data: bytes) -> bytes:
        return self.run(Unit.from_bytes(data)).to_bytes()

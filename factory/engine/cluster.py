"""The engine on Ray Data: each stage is a pool of actors, and units stream from pool to pool through the object store.

One row of Ray's data set is one unit, in one binary column. So Ray never merges or splits units, and a unit's people
and failed records travel unchanged. Ray does the queues, the backpressure, the restart of actors and the recovery from
lost nodes.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pyarrow as pa

from factory.engine.isolated import Isolated, setup_error
from factory.engine.session import session
from factory.engine.watcher import Watched
from factory.engine.worker import Worker, spec
from factory.job import JobSpec
from factory.plan import Plan
from factory.record import Unit
from factory.stages.base import Stage
from factory.store.part import Part, Parts, pack

WAVE = 10_000  # units given to Ray at a time. It bounds the driver's memory; each wave loads the models anew
QUEUED = 4  # finished units per actor that may wait in the object store; beyond that the stages before it pause
BYTES_PER_PIXEL = 16  # of a record in a unit: two images, three masks and a depth map, with some to spare
LEAST_BYTES = 64 * 2**20  # of the object store, that a job may use at least


def compute(
    plan: Plan, stages: list[type[Stage]], ids: Iterable[tuple[int, int]], on_isolate: Callable[[Unit], None]
) -> Parts:
    """Yield (shard, index, part) for each (shard, index) in `ids`, once each, in the order in which units are finished.

    Ray drops a unit whose actor has died twice. Such units are computed by `Isolated` at the end of their wave;
    `on_isolate` is called with each of them before.
    """
    todo = iter(ids)
    with session(plan.job, stages):
        while wave := list(islice(todo, WAVE)):
            lost = set(wave)
            for shard, index, part in _persistent(plan, stages, lost):
                lost.remove((shard, index))
                yield shard, index, part
            with Isolated(stages, plan.job) as isolated:
                for shard, index in sorted(lost):
                    unit = plan.unit(shard, index)
                    on_isolate(unit)
                    yield shard, index, pack(isolated(unit), plan.job)


def _persistent(plan: Plan, stages: list[type[Stage]], left: set[tuple[int, int]]) -> Iterator[tuple[int, int, Part]]:
    """Yield (shard, index, part) of the units in `left`; the caller removes each from the set as it arrives.

    When Ray loses a node together with results that it cannot recompute, the stream is started again with the units
    that remain in the set. The error is raised if no unit arrived since the last start.
    """
    from ray.exceptions import ObjectLostError

    while left:
        before = len(left)
        try:
            for shard, index, part in _stream(plan, stages, sorted(left)):
                if (shard, index) in left:
                    yield shard, index, part
            return
        except ObjectLostError:
            if len(left) == before:
                raise


class StreamActor:
    """The actor that Ray Data hosts for a stage. It maps a row that holds a unit to a row that holds the unit one stage
    further; the actor of the last stage returns finished parts.

    Ray calls it from two threads. All computing is done in a third thread, because some state belongs to the thread
    that made it (a GL context, for example). So one unit is computed while the unit before it is packed and the next
    one is unpacked.
    """

    def __init__(self, stage: type[Stage], job: JobSpec, last: bool) -> None:
        self.job, self.last = job, last
        self.thread = ThreadPoolExecutor(1)
        self.worker = self.thread.submit(Worker, stage, job).result()
        self.watched = Watched(job.max_unit_seconds)  # made after the setup, which has no time limit

    def __call__(self, rows: pa.Table) -> pa.Table:
        unit = self.thread.submit(self._run, Unit.from_bytes(rows["unit"][0].as_py())).result()
        if not self.last:
            return _row(unit=unit.to_bytes())
        part = pack(unit, self.job)
        return _row(tar=part.tar, rows=part.rows).append_column("id", pa.array([[unit.shard, unit.index]]))

    def _run(self, unit: Unit) -> Unit:
        with self.watched.unit():
            unit = self.worker(unit)
        if self.worker.broken(unit):
            os._exit(1)  # Ray then starts another process and gives it the same unit
        return unit


def _row(**columns: bytes) -> pa.Table:
    return pa.table({name: pa.array([value], pa.large_binary()) for name, value in columns.items()})


def _stream(plan: Plan, stages: list[type[Stage]], ids: list[tuple[int, int]]) -> Iterator[tuple[int, int, Part]]:
    import ray
    from ray.data import ActorPoolStrategy

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # failures are in the index, one line each
    dataset = ray.data.from_blocks([_row(unit=plan.unit(*id).to_bytes()) for id in ids])
    _configure(dataset.context, plan.job, stages)
    for number, stage in enumerate(stages, 1):
        host = spec(stage, plan.job)
        # Ray 2.60 warns that max_restarts and max_task_retries will be passed otherwise, but offers no other way yet.
        warnings.filterwarnings("ignore", ".*ray_remote_args.*", category=DeprecationWarning)
        dataset = dataset.map_batches(
            StreamActor,
            fn_constructor_args=(stage, plan.job, number == len(stages)),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=host.cpus,
            num_gpus=host.gpus,
            # When an actor dies, every unit that waits in it has used up a retry. So only as many units wait in an
            # actor as keep it busy: one is computed, one is packed or unpacked.
            compute=ActorPoolStrategy(
                size=host.workers,
                max_tasks_in_flight_per_actor=2,
                max_concurrent_calls_per_actor=2,
                enable_true_multi_threading=True,
            ),
            max_restarts=-1,
            max_task_retries=1,  # without a limit, a record that kills its process would be retried for ever
        )
    try:
        for rows in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for i, (shard, index) in enumerate(rows["id"].to_pylist()):
                yield shard, index, Part(rows["tar"][i].as_py(), rows["rows"][i].as_py())
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
        # Lost units raise nothing here (max_errored_blocks), so the error is that of an actor that cannot start.
        raise setup_error(error) from error


def _configure(context: Any, job: JobSpec, stages: list[type[Stage]]) -> None:
    """Set Ray Data's options for this job."""
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # lost units do not end the stream: `compute` does them again, isolated
    context.max_consecutive_actor_init_deaths = 3  # a node may be lost while an actor on it loads its models
    context.execution_no_progress_timeout_s = -1  # no limit: a large unit may take an hour
    actors = sum(spec(stage, job).workers for stage in stages)
    unit_bytes = job.unit_size * job.image_size**2 * BYTES_PER_PIXEL
    limits = context.execution_options.resource_limits
    # Without a limit, a fast first stage fills the object store with units that the slow last stage cannot take yet.
    limit = max(actors * QUEUED * unit_bytes, LEAST_BYTES)
    context.execution_options.resource_limits = limits.copy(object_store_memory=limit)

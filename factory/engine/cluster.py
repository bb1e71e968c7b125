"""The stages on Ray Data: each a pool of actors, units streaming between them through the object store.

One row of the data set is one unit, in one binary column: so units are never merged or split, and people and failed
records travel as they are. Ray keeps the queues, the backpressure, the restarts and the lost nodes.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

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

WAVE = 10_000  # units given to Ray at a time: bounds what the driver holds, at the price of loading the models anew
QUEUED = 4  # units per actor that may lie finished but unread, before the stages ahead of them wait
BYTES_PER_PIXEL = 16  # of a record on its way: two images, three masks, a depth; and some room
LEAST_BYTES = 64 * 2**20  # the share of the object store is never kept smaller


def compute(
    plan: Plan, stages: list[type[Stage]], ids: Iterable[tuple[int, int]], on_isolate: Callable[[Unit], None]
) -> Parts:
    """(shard, index, part) of each unit asked for, once each, as they come.

    A unit whose worker died twice is dropped by Ray. It comes at the end of its wave, redone by `Isolated`.
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
    """(shard, index, part) of the units in `left`; the caller removes each one from the set as it comes. Where Ray
    loses a node with results that it cannot make again, the stream begins anew with the rest, unless no unit came
    since it last began."""
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


class Actor:
    """What Ray hosts: a worker that reads and writes rows, the last of them finished parts.

    Ray calls it from two threads. The worker keeps to a third one of its own (a GL context, for one, belongs to a
    thread), so that a unit is computed while the one before it is packed and the one after it unpacked.
    """

    def __init__(self, stage: type[Stage], job: JobSpec, last: bool) -> None:
        self.job, self.last = job, last
        self.thread = ThreadPoolExecutor(1)
        self.worker = self.thread.submit(Worker, stage, job).result()
        self.watched = Watched(job.max_unit_seconds)  # from now on: setting up may take its time

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
            os._exit(1)  # Ray starts another process and gives it the unit
        return unit


def _row(**columns: bytes) -> pa.Table:
    return pa.table({name: pa.array([value], pa.large_binary()) for name, value in columns.items()})


def _stream(plan: Plan, stages: list[type[Stage]], ids: list[tuple[int, int]]) -> Iterator[tuple[int, int, Part]]:
    import ray
    from ray.data import ActorPoolStrategy

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the index holds each failure, once and in one line
    dataset = ray.data.from_blocks([_row(unit=plan.unit(*id).to_bytes()) for id in ids])
    _configure(dataset.context, plan.job, stages)
    for number, stage in enumerate(stages, 1):
        host = spec(stage, plan.job)
        # Ray 2.60 warns that max_restarts and max_task_retries will have another spelling, and has none yet.
        warnings.filterwarnings("ignore", ".*ray_remote_args.*", category=DeprecationWarning)
        dataset = dataset.map_batches(
            Actor,
            fn_constructor_args=(stage, plan.job, number == len(stages)),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=host.cpus,
            num_gpus=host.gpus,
            # What waits in an actor that dies counts as having died too, so no more wait than keep it busy.
            compute=ActorPoolStrategy(
                size=host.workers,
                max_tasks_in_flight_per_actor=2,
                max_concurrent_calls_per_actor=2,
                enable_true_multi_threading=True,
            ),
            max_restarts=-1,
            max_task_retries=1,  # for ever by default: a record that kills its process would
        )
    try:
        for rows in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for i, (shard, index) in enumerate(rows["id"].to_pylist()):
                yield shard, index, Part(rows["tar"][i].as_py(), rows["rows"][i].as_py())
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
        # A lost unit is no error here (max_errored_blocks), so this is a worker that cannot start.
        raise setup_error(error) from error


def _configure(context, job: JobSpec, stages: list[type[Stage]]) -> None:
    """Ray's settings for this one data set."""
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a unit that is lost is redone in isolation
    context.max_consecutive_actor_init_deaths = 3  # a node may go while models load
    context.execution_no_progress_timeout_s = -1  # a large unit may take an hour
    actors = sum(spec(stage, job).workers for stage in stages)
    unit_bytes = job.unit_size * job.image_size**2 * BYTES_PER_PIXEL
    limits = context.execution_options.resource_limits
    # Without a limit a fast first stage fills the store with work that the slow last stage cannot take.
    limit = max(actors * QUEUED * unit_bytes, LEAST_BYTES)
    context.execution_options.resource_limits = limits.copy(object_store_memory=limit)

"""Connects to a Ray that can host the job: the cluster at ray_address, or a local Ray started for this run."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter

from factory.engine.join import connect
from factory.engine.local import local
from factory.engine.place import Node, place
from factory.engine.worker import spec
from factory.errors import UserError
from factory.job import JobSpec
from factory.stages.base import Stage


@contextmanager
def session(job: JobSpec, stages: list[type[Stage]]) -> Iterator[list[Node]]:
    """Yield the nodes with the workers that are placed on each. The connection lasts as long as the context; a process
    that is already connected stays so.

    UserError when the cluster does not answer, refuses the token or has no room for the workers (Ray would wait for
    ever).
    """
    hosts = [(stage.name, spec(stage, job)) for stage in stages]
    cpus = sum(host.workers * host.cpus for _, host in hosts)
    with connected(job.ray_address, cpus):
        yield place(hosts, _nodes(job))


@contextmanager
def connected(address: str | None, cpus: float) -> Iterator[None]:
    """Be connected to the cluster at the address, or without one to a local Ray with at least so many CPUs. A process
    that is already connected stays so. UserError when the cluster does not answer or refuses the token."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or it warns of Ray Data's own way to make actors
    os.environ.setdefault("RAY_enable_output_error_log_if_still_retry", "0")  # failures that Ray retries
    import ray

    with contextlib.ExitStack() as stack:
        if ray.is_initialized():
            pass
        elif address:
            _join(address, stack)
        else:  # more CPUs than there are do no harm: workers share cores. GPUs are never claimed that do not exist
            stack.enter_context(local(max(os.cpu_count() or 1, math.ceil(cpus))))
        yield


def _nodes(job: JobSpec) -> list[Node]:
    """The cluster's nodes, all free, and those that its autoscaler may still add."""
    import ray

    live = sorted((node for node in ray.nodes() if node["Alive"]), key=itemgetter("NodeName"))
    have = [(node["NodeName"], node["Resources"]) for node in live]
    nodes = [Node(name, some.get("CPU", 0), [1.0] * int(some.get("GPU", 0))) for name, some in have]
    if grows := job.autoscaler:
        added = sum(node.cpus >= grows.cpus and len(node.gpus) >= grows.gpus for node in nodes)
        nodes += [Node(f"to be added {i}", grows.cpus, [1.0] * grows.gpus) for i in range(added + 1, grows.nodes + 1)]
    return nodes


def _join(address: str, stack: contextlib.ExitStack) -> None:
    """Connect to a cluster. UserError when none answers there, or it refuses the token."""
    import ray

    try:
        _knock(address)
        stack.enter_context(connect(address=address))
    except ray.exceptions.AuthenticationError as error:
        raise UserError(f"ray_address: {address} refuses the token ({_first(error)}); set RAY_AUTH_TOKEN") from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"ray_address: no cluster answers at {address} ({_first(error)})") from None


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _knock(address: str) -> None:
    """Raise OSError when nothing listens at host:port; Ray itself would retry for minutes. An address without a port,
    such as auto, is not checked."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()

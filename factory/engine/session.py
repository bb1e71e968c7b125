"""A Ray that can host the job: the cluster at ray_address, or one of our own that leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

from factory.engine.place import Node, place
from factory.engine.worker import spec
from factory.errors import UserError
from factory.job import JobSpec
from factory.stages.base import Stage

SCRATCH = "factory-"  # Ray's sockets, logs and spilled units, in the machine's temporary folder
LONGEST = 32  # bytes of its name: that of a socket below it may have 107


@contextmanager
def session(job: JobSpec, stages: list[type[Stage]]) -> Iterator[list[Node]]:
    """Ray for as long as the context lasts, unless the process already has one; and who will sit where.

    UserError where the cluster does not answer, refuses us or cannot place the workers: Ray itself would wait for ever.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or it warns of Ray Data's own way to make actors
    import ray

    hosts = [(stage.name, spec(stage, job)) for stage in stages]
    cpus = sum(host.workers * host.cpus for _, host in hosts)
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
            if job.ray_address:
                stack.callback(ray.shutdown)
                _join(job.ray_address, quiet)
            else:  # cores are shared without harm, so a small machine may host every stage; GPUs are never made up
                os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: behind all else the machine does
                quiet["_temp_dir"] = stack.enter_context(_scratch())
                stack.callback(ray.shutdown)  # before the folder goes
                _start(max(os.cpu_count() or 1, math.ceil(cpus)), quiet)
        yield place(hosts, _nodes(job))


def _nodes(job: JobSpec) -> list[Node]:
    """The cluster's nodes, and those that its autoscaler may yet add."""
    import ray

    live = sorted((node for node in ray.nodes() if node["Alive"]), key=itemgetter("NodeName"))
    have = [(node["NodeName"], node["Resources"]) for node in live]
    nodes = [Node(name, some.get("CPU", 0), [1.0] * int(some.get("GPU", 0))) for name, some in have]
    if grows := job.autoscaler:
        added = sum(node.cpus >= grows.cpus and len(node.gpus) >= grows.gpus for node in nodes)
        nodes += [Node(f"to be added {i}", grows.cpus, [1.0] * grows.gpus) for i in range(added + 1, grows.nodes + 1)]
    return nodes


def _start(cpus: int, quiet: dict[str, Any]) -> None:
    """A Ray on this machine."""
    import ray

    try:
        with _mute():
            ray.init(address="local", num_cpus=cpus, **quiet)
    except Exception as error:
        if "timed out" not in str(error):
            raise
        raise UserError("engine: Ray did not start in time, this machine is too busy; try again, or inline") from error


def _join(address: str, quiet: dict[str, Any]) -> None:
    """Connect to a cluster; UserError where none answers there or it wants another token."""
    import ray

    try:
        _knock(address)
        with _mute():
            ray.init(address=address, **quiet)
    except ray.exceptions.AuthenticationError as error:
        raise UserError(f"ray_address: {address} refuses the token ({_first(error)}); set RAY_AUTH_TOKEN") from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"ray_address: no cluster answers at {address} ({_first(error)})") from None


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _knock(address: str) -> None:
    """OSError where nothing listens at host:port: Ray itself would try for minutes. Names such as auto pass."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextmanager
def _scratch() -> Iterator[str]:
    """A folder for a Ray of our own, gone with us. A run that was killed leaves its folder; the next one removes it,
    and knows it by the lock that nobody holds any more."""
    root = tempfile.gettempdir()
    root = root if len(root) <= LONGEST else "/tmp"
    for old in Path(root).glob(SCRATCH + "*"):
        with contextlib.suppress(OSError), _locked(old):
            shutil.rmtree(old, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=SCRATCH, dir=root)
    try:
        with _locked(Path(folder)):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """OSError where another process holds the folder. The kernel lets go of it with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


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

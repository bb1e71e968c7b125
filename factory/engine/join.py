"""Joining Ray, a local one or a cluster: Ray prints nothing, and its workers import modules from the same places."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def connect(**options: Any) -> Iterator[None]:
    """`ray.init` with these options; `ray.shutdown` at the end of the context."""
    import ray
    from ray._private import worker

    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    with contextlib.ExitStack() as stack:
        stack.callback(ray.shutdown)
        # Ray would print pages about its processes among our lines. `Health` reports what concerns the run.
        stack.callback(setattr, worker, "print_to_stdstream", worker.print_to_stdstream)
        worker.print_to_stdstream = lambda *_, **__: None
        with _mute():
            ray.init(**quiet, **_paths(), **options)
        yield


def forget() -> None:
    """Make Ray drop the token that it has read in this process, so that it reads the next one."""
    from ray import _raylet

    loader: Any = _raylet.AuthenticationTokenLoader  # type: ignore[attr-defined]
    loader.instance().reset_cache()


def _paths() -> dict[str, Any]:
    """Options for `ray.init` that give workers this process's module search path.

    Ray would put the working directory first, and a file factory.py or torch.py there would be imported instead of the
    real module. A driver that `factory launch` has started gets no such option: Ray sets its path by itself.
    """
    from ray.job_config import JobConfig

    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}
    own = sysconfig.get_path("stdlib")
    ahead = sys.path[: sys.path.index(own)] if own in sys.path else []
    paths = [os.path.abspath(path) for path in reversed(ahead)]  # a worker puts each in front of the one before it
    return {"job_config": JobConfig(_client_job=True, _py_driver_sys_path=paths)}  # _client_job: no working directory


@contextmanager
def _mute() -> Iterator[None]:
    """Send stderr to nowhere for the block: Ray's C++ code prints its log level there. Errors are raised all the
    same."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

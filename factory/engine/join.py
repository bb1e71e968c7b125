"""How a process joins Ray, local or a cluster's: without Ray's messages, with workers that import the same files."""

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
    """`ray.init`, and `ray.shutdown` at the end."""
    import ray
    from ray._private import worker

    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    with contextlib.ExitStack() as stack:
        stack.callback(ray.shutdown)
        # Ray prints pages about its processes between our lines. `Health` reports what of it concerns the run.
        stack.callback(setattr, worker, "print_to_stdstream", worker.print_to_stdstream)
        worker.print_to_stdstream = lambda *_, **__: None
        with _mute():
            ray.init(**quiet, **_paths(), **options)
        yield


def forget() -> None:
    """Drop the token that this process has read, so that Ray reads the next one."""
    from ray import _raylet

    loader: Any = _raylet.AuthenticationTokenLoader  # type: ignore[attr-defined]
    loader.instance().reset_cache()


def _paths() -> dict[str, Any]:
    """Where workers look for modules ahead of Python's own: where this process does.

    By itself Ray puts the working directory first, and a factory.py or torch.py that lies there would be imported in
    the place of the real one. `factory launch` brings a working directory of its own, and Ray knows what to do with it.
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
    """Ray's C++ side prints on stderr the log level that was set. What goes wrong is raised, not printed."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

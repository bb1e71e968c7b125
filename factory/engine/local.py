"""A local Ray for one run. It listens on loopback only, requires a token and keeps its files in a private folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from factory.engine.health import vital_processes
from factory.engine.join import connect, forget
from factory.engine.scratch import scratch
from factory.engine.witness import Witness
from factory.errors import UserError

# Variables that Ray reads when it starts and that its processes inherit. None: the variable must not be set.
SETTINGS: dict[str, str | None] = {
    "RAY_worker_niceness": "0",  # Ray's default of 15 would put workers behind every other process of the machine
    # "0" tells Ray that all its nodes are on one machine; each of its processes then listens on loopback only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": None,  # unset, Ray requires the token
    "RAY_AUTH_TOKEN_PATH": None,
    "RAY_ADDRESS": None,
}


@contextmanager
def local(cpus: int) -> Iterator[None]:
    """Run Ray with `cpus` CPUs and this machine's GPUs until the context ends. No process and no file is left behind.

    The token is random and lives in the environment of Ray's processes. It is in no file, so no home folder is needed.
    """
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with scratch() as folder, _environment({**SETTINGS, **token}), contextlib.ExitStack() as stack:
        from ray._private import ray_constants

        # Ray read RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER when it was imported, perhaps before it was set here.
        before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
        stack.callback(setattr, ray_constants, "ENABLE_RAY_CLUSTER", before)
        forget()
        stack.callback(forget)
        witness = stack.enter_context(Witness())
        (folder / "r").mkdir()  # Ray makes its folder readable for everybody; the one above it stays private
        try:
            stack.enter_context(connect(address="local", num_cpus=cpus, _temp_dir=str(folder / "r")))
        except Exception as error:
            if "timed out" not in str(error):
                raise
            raise UserError(
                "engine: Ray did not start in time, this machine is too busy; try again, or inline"
            ) from error
        with witness.watch(vital_processes()):
            yield


@contextmanager
def _environment(values: dict[str, str | None]) -> Iterator[None]:
    """Set the variables for the block and restore them afterwards. A niceness that the user has set is kept."""
    before: dict[str, Any] = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            elif name != "RAY_worker_niceness":
                os.environ[name] = value
            else:
                os.environ.setdefault(name, value)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

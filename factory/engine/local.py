"""A local Ray for one run: it listens on loopback only, asks for a token, and keeps its files in a private folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from factory.engine.health import hearts
from factory.engine.join import connect, forget
from factory.engine.scratch import scratch
from factory.engine.witness import Witness
from factory.errors import UserError

# Ray reads these when it starts, its processes inherit them. None: must not be set.
SETTINGS: dict[str, str | None] = {
    "RAY_worker_niceness": "0",  # 15 by default: behind all else the machine does
    # Ray's way to say that its nodes lie on one machine; then each of its processes listens on loopback alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": None,  # then Ray asks for the token
    "RAY_AUTH_TOKEN_PATH": None,
    "RAY_ADDRESS": None,
}


@contextmanager
def local(cpus: int) -> Iterator[None]:
    """Ray with so many CPUs and this machine's GPUs, until the context ends. Leaves nothing behind.

    The token is made anew each time and kept in the environment of Ray's processes: no file, so that it needs no home.
    """
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with scratch() as folder, _environment({**SETTINGS, **token}), contextlib.ExitStack() as stack:
        from ray._private import ray_constants

        # Ray reads its variable when it is imported, which may have been before this.
        before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
        stack.callback(setattr, ray_constants, "ENABLE_RAY_CLUSTER", before)
        forget()
        stack.callback(forget)
        witness = stack.enter_context(Witness())
        (folder / "r").mkdir()  # Ray opens the folder that it is given to everybody; ours, above it, stays closed
        try:
            stack.enter_context(connect(address="local", num_cpus=cpus, _temp_dir=str(folder / "r")))
        except Exception as error:
            if "timed out" not in str(error):
                raise
            raise UserError(
                "engine: Ray did not start in time, this machine is too busy; try again, or inline"
            ) from error
        with witness.watch(hearts()):
            yield


@contextmanager
def _environment(values: dict[str, str | None]) -> Iterator[None]:
    """The variables, as they were afterwards. What the user has set of Ray's niceness stays."""
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

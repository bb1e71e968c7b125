"""Trainings in several processes, by Ray Train: on this machine's GPUs, or on those of the cluster that makes data
sets."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

from factory.engine.session import connected
from factory.errors import UserError, first_line

RETRIES = 3  # times that the processes are started anew after one of them died; the loop resumes by itself
WAIT = 0.5  # seconds that one look for messages takes
RAY_FILES = ".ray"  # a folder beside the checkpoint, for as long as a training runs


class TrainingListener(Protocol):
    """Who is told how a training goes: see `finetune.hmr.Progress`."""

    def tick(self, step: int, fraction: float, values: dict[str, Any]) -> None: ...

    def note(self, line: str) -> None: ...


Loop = Callable[[int, int, TrainingListener], None]


def train_on_ray(
    loop: Loop, workers: int, address: str | None, cpus: int, out: Path, listener: TrainingListener
) -> None:
    """Call loop(rank, count, listener) in `workers` processes, in which torch.distributed is initialised.

    address: of a Ray cluster; None: a local Ray. Each process gets a GPU where there are enough, and `cpus` CPUs. out:
    the folder of the training's checkpoint, which every node must see. When a process dies, all are started anew, a few
    times; the loop must resume from its checkpoint. UserError: one that a loop has raised, a cluster that does not
    answer or is too small, or processes that die again and again.
    """
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # relative paths are those of this process
    with connected(address, workers * cpus):
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
        from ray.util.queue import Empty, Queue

        there = ray.cluster_resources()
        if there.get("CPU", 0) < workers * cpus:
            raise UserError(f"--workers {workers}: needs {workers * cpus} CPUs, and Ray has {there.get('CPU', 0):g}")
        messages, folder = Queue(actor_options={"num_cpus": 0}), out.absolute() / RAY_FILES
        folder.mkdir(parents=True, exist_ok=True)
        trainer = TorchTrainer(
            _Process(loop, messages, os.getcwd()),
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=there.get("GPU", 0) >= workers, resources_per_worker={"CPU": cpus}
            ),
            run_config=RunConfig(
                name="training", storage_path=str(folder), failure_config=FailureConfig(max_failures=RETRIES)
            ),
        )
        training = _Background(trainer.fit)
        training.start()
        try:
            while training.is_alive() or not messages.empty():
                with contextlib.suppress(Empty):
                    name, arguments = messages.get(timeout=WAIT)
                    if name == "error":
                        raise UserError(*arguments)
                    getattr(listener, name)(*arguments)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if training.error is not None:
        failures = getattr(training.error, "worker_failures", None) or {0: training.error}
        raise UserError(
            f"the training's processes died {RETRIES + 1} times, last by {first_line(next(iter(failures.values())))}; "
            "the same command resumes it"
        ) from training.error


class _Background(Thread):
    """Calls a function; `error` is what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.call()
        except Exception as error:
            self.error = error


class _Process:
    """What one process of the training does. It can be sent there."""

    def __init__(self, loop: Loop, messages: Any, folder: str) -> None:
        self.loop, self.messages, self.folder = loop, messages, folder
        self.__name__ = "training"  # Ray asks for it

    def __call__(self) -> None:
        from ray.train import get_context

        with contextlib.suppress(OSError):  # a node may lack it
            os.chdir(self.folder)
        context = get_context()
        try:
            self.loop(context.get_world_rank(), context.get_world_size(), _Messages(self.messages))
        except UserError as error:
            self.messages.put(("error", (str(error),)))


class _Messages:
    """The listener of a process: it sends what it is told to the process that waits for the training."""

    def __init__(self, messages: Any) -> None:
        self.messages = messages

    def tick(self, step: int, fraction: float, values: dict[str, Any]) -> None:
        plain = {name: float(value) for name, value in values.items()}
        self.messages.put(("tick", (step, fraction, plain)))

    def note(self, line: str) -> None:
        self.messages.put(("note", (line,)))

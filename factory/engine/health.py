"""What Ray is doing, in words for users: the state of the job's workers, and why no further unit can be finished."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from typing import Any

from factory.errors import UserError

KILLS = 3  # the run ends when Ray has killed this many workers, times the job's workers, since the last finished unit
BRIEF = 60.0  # s without a finished unit during which kills are tolerated: another program may free its memory
SILENCE = 20.0  # s without an answer from the cluster until the run ends; Ray itself would end this process after 60 s
WORDS = {
    "ALIVE": "up",
    "PENDING_CREATION": "starting",
    "DEPENDENCIES_UNREADY": "starting",
    "RESTARTING": "starting anew",
}
VITAL = {"gcs_server": "the server of its state", "raylet": "its scheduler"}  # processes without which Ray is dead
KEPT = "what was finished is kept; run the same command again"


class Health:
    """Asks the Ray that this process has joined. workers: how many workers (actors) the job has."""

    def __init__(self, workers: int) -> None:
        self.workers, self.answered = workers, time.monotonic()

    def waits(self) -> str:
        """One line: how many workers are up or starting, and how many were killed because memory is short."""
        from ray._private import state

        try:
            ours = [actor for actor in state.actors().values() if "MapWorker" in actor["ActorClassName"]]
            ours += [actor for actor in state.actors().values() if actor["ActorClassName"] == "IsolatedActor"]
        except Exception as error:  # these are Ray's private functions, and Ray may be down
            return f"Ray does not say what its workers do ({type(error).__name__})"
        counts = Counter(WORDS.get(actor["State"], "") for actor in ours)
        words = ", ".join(f"{counts[word]} {word}" for word in dict.fromkeys(WORDS.values()) if counts[word])
        killed, last = self._killed(0)
        memory = f"; {killed} were killed because memory is short ({last})" if killed else ""
        return f"of {self.workers} workers: {words or 'none placed yet'}{memory}"

    def broken(self, since: float) -> UserError | None:
        """The error that ends the run because no further unit can be finished, or None. since: when the last unit was
        finished, s of time.time()."""
        from ray._private import worker

        node: Any = worker._global_node
        if node is None:
            return None
        if node.head:
            for name, process in node.dead_processes():
                if name in VITAL:
                    return UserError(died(name, _end(process)))
        elif not self._answers(node.gcs_address):
            return UserError(f"engine: the Ray cluster at {node.gcs_address} does not answer any more; {KEPT}")
        if time.time() - since < BRIEF:
            return None
        killed, last = self._killed(since)
        if killed >= KILLS * self.workers:
            return UserError(
                f"engine: memory is short: since the last finished unit Ray has killed {killed} workers ({last}). "
                f"{KEPT[0].upper()}{KEPT[1:]} with more memory free, or with smaller unit_size or stages.*.workers"
            )
        return None

    def _answers(self, address: str) -> bool:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
            self.answered = time.monotonic()
        except OSError:
            pass
        return time.monotonic() - self.answered < SILENCE

    def _killed(self, since: float) -> tuple[int, str]:
        """(number of workers that Ray has killed since then because memory was short, Ray's report on the last one)."""
        from ray._private import state
        from ray.core.generated import common_pb2, gcs_pb2

        short = common_pb2.NODE_OUT_OF_MEMORY  # type: ignore[attr-defined]
        killed, last, latest = 0, "", 0
        try:
            for row in state.state._connect_and_get_accessor().get_worker_table():
                worker = gcs_pb2.WorkerTableData.FromString(row)  # type: ignore[attr-defined]
                if worker.exit_type == short and worker.end_time_ms / 1000 >= since:
                    killed += 1
                    if worker.end_time_ms >= latest:
                        last, latest = worker.exit_detail, worker.end_time_ms
        except Exception:  # these are Ray's private functions, and Ray may be down
            return 0, ""
        return killed, memory(last)


def died(name: str, how: str) -> str:
    """The message that one of Ray's VITAL processes has died; how: its signal or exit code."""
    return f"engine: Ray's process {name}, {VITAL[name]}, has died ({how}); {KEPT}"


def vital_processes() -> dict[int, str]:
    """Process id -> the line that says that this process has died, for the VITAL processes of the local Ray. In the
    line, {} stands for the signal or exit code."""
    from ray._private import worker

    node: Any = worker._global_node
    return {each.process.pid: f"error: {died(name, '{}')}" for name in VITAL for each in node.all_processes[name]}


def memory(detail: str) -> str:
    """The amounts in Ray's report on a worker that it killed because memory was short, such as "15.2 GB of 16.0 GB used
    on its node"; the beginning of the report where it names none."""
    found = re.search(r"was ([\d.]+ ?\w+) used / ([\d.]+ ?\w+) limit", detail)
    return f"{found[1]} of {found[2]} used on its node" if found else " ".join(detail.split())[:120]


def _end(process: Any) -> str:
    code = process.poll()
    return f"signal {-code}" if code < 0 else f"exit code {code}"

"""The state of Ray in words for users: what its workers are doing, and why no further unit can come."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from typing import Any

from factory.errors import UserError

KILLS = 3  # times each worker may be killed for want of memory, without a unit in between, before the run ends
BRIEF = 60.0  # s without a finished unit: memory that another program holds for so long may yet come free
SILENCE = 20.0  # s that a cluster may not answer: by itself Ray waits a minute and then ends this process
WORDS = {
    "ALIVE": "up",
    "PENDING_CREATION": "starting",
    "DEPENDENCIES_UNREADY": "starting",
    "RESTARTING": "starting anew",
}
HEARTS = {"gcs_server": "the server of its state", "raylet": "its scheduler"}
KEPT = "what was finished is kept; run the same command again"


class Health:
    """The state of the Ray that this process has joined. workers: how many of them the job has."""

    def __init__(self, workers: int) -> None:
        self.workers, self.answered = workers, time.monotonic()

    def waits(self) -> str:
        """What the workers are doing."""
        from ray._private import state

        try:
            ours = [actor for actor in state.actors().values() if "MapWorker" in actor["ActorClassName"]]
            ours += [actor for actor in state.actors().values() if actor["ActorClassName"] == "Actor"]
        except Exception as error:  # Ray is private here, and may be down
            return f"Ray does not say what its workers do ({type(error).__name__})"
        counts = Counter(WORDS.get(actor["State"], "") for actor in ours)
        words = ", ".join(f"{counts[word]} {word}" for word in dict.fromkeys(WORDS.values()) if counts[word])
        killed, last = self._killed(0)
        memory = f"; {killed} were killed because memory is short ({last})" if killed else ""
        return f"of {self.workers} workers: {words or 'none placed yet'}{memory}"

    def broken(self, since: float) -> UserError | None:
        """The error that ends the run where no further unit can come, else None. since: as in `Lookout`."""
        from ray._private import worker

        node: Any = worker._global_node
        if node is None:
            return None
        if node.head:
            for name, process in node.dead_processes():
                if name in HEARTS:
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
        """(workers that Ray has killed for want of memory since then, what Ray says about the last of them)."""
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
        except Exception:  # Ray is private here, and may be down
            return 0, ""
        return killed, memory(last)


def died(name: str, how: str) -> str:
    """The message when one of HEARTS has died."""
    return f"engine: Ray's process {name}, {HEARTS[name]}, has died ({how}); {KEPT}"


def hearts() -> dict[int, str]:
    """The process id of each of the local Ray's HEARTS, and the line that says that it has died; {} stands for how."""
    from ray._private import worker

    node: Any = worker._global_node
    return {each.process.pid: f"error: {died(name, '{}')}" for name in HEARTS for each in node.all_processes[name]}


def memory(detail: str) -> str:
    """Ray's report on a worker that it killed for memory, in a few words."""
    found = re.search(r"was ([\d.]+ ?\w+) used / ([\d.]+ ?\w+) limit", detail)
    return f"{found[1]} of {found[2]} used on its node" if found else " ".join(detail.split())[:120]


def _end(process: Any) -> str:
    code = process.poll()
    return f"signal {-code}" if code < 0 else f"exit code {code}"

"""Two nodes on one machine: a cluster that can lose one."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

NODE = {"num_cpus": 8, "object_store_memory": 80 * 2**20}
PATIENCE = 300.0  # s
QUICK = {"health_check_period_ms": 500, "health_check_timeout_ms": 5000, "health_check_failure_threshold": 3}


def patient(ask: Callable) -> Callable:
    """Ask again for as long as the answer is that there is nobody."""

    def wrapped(*arguments: Any) -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    return wrapped


class Nodes:
    """A head that computes nothing, and two nodes that can each host all actors. A context."""

    def __enter__(self) -> Nodes:
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
        import ray
        from ray._private import services, utils
        from ray.cluster_utils import Cluster

        services.get_node = patient(services.get_node)  # Ray gives a node 30 s, however busy the machine is
        utils.set_sigterm_handler = lambda _: None  # which only a main thread may, and faults add nodes from another
        head = {**NODE, "num_cpus": 0, "include_dashboard": False, "_system_config": QUICK}
        self.cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.thread = ThreadPoolExecutor(1)  # the kernel ends a node with the thread that started it
        self.nodes = [self._add() for _ in range(2)]
        self.address: str = self.cluster.address
        ray.init(address=self.address, log_to_driver=False)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()
        self.thread.shutdown()

    def lose_one(self, chance: random.Random) -> None:
        """One node dies at once with all that is on it; another comes."""
        lost = self.nodes.pop(chance.randrange(len(self.nodes)))
        self.cluster.remove_node(lost, allow_graceful=False)
        self.nodes.append(self._add())

    def _add(self) -> Any:
        return self.thread.submit(self.cluster.add_node, **NODE).result()

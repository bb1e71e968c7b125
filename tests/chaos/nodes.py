"""Two nodes on one machine: a cluster that can lose one."""

from __future__ import annotations

import os
import random
from types import TracebackType
from typing import Any

NODE = {"num_cpus": 8, "object_store_memory": 80 * 2**20}
QUICK = {"health_check_period_ms": 500, "health_check_timeout_ms": 5000, "health_check_failure_threshold": 3}


class Nodes:
    """A head that computes nothing, and two nodes that can each host all actors. A context."""

    def __enter__(self) -> Nodes:
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
        import ray
        from ray.cluster_utils import Cluster

        head = {**NODE, "num_cpus": 0, "include_dashboard": False, "_system_config": QUICK}
        self.cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.cluster.add_node(**NODE) for _ in range(2)]
        self.address: str = self.cluster.address
        ray.init(address=self.address, log_to_driver=False)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()

    def lose_one(self, chance: random.Random) -> None:
        """One node dies at once with all that is on it; another comes."""
        lost = self.nodes.pop(chance.randrange(len(self.nodes)))
        self.cluster.remove_node(lost, allow_graceful=False)
        self.nodes.append(self.cluster.add_node(**NODE))

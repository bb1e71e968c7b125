"""The placement of a job's actors on the nodes of a cluster, worked out before Ray is asked for one.

Ray waits for ever when an actor fits on no node. Comparing sums does not show it: three actors of 0.6 GPU do not fit on
two GPUs. So the actors are packed here as Ray packs them: the largest first, and a fraction of a GPU never spread over
two GPUs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from factory.errors import UserError
from factory.job_stages import WorkersSpec

ROOM = 1e-6  # tolerance for rounding: three thirds of a GPU must fit on one


@dataclass
class Node:
    """A machine of a cluster and the actors placed on it. cpus, gpus: what the actors leave free."""

    name: str
    cpus: float
    gpus: list[float] = field(default_factory=list)  # the free share of each GPU
    actors: Counter[str] = field(default_factory=Counter)  # stage -> number of its actors placed here

    def add(self, stage: str, host: WorkersSpec) -> bool:
        """Place one actor of a stage here. Returns False, and changes nothing, when it does not fit."""
        want = [1.0] * int(host.gpus) if host.gpus >= 1 else [host.gpus] * (host.gpus > 0)
        free = sorted((i for i, share in enumerate(self.gpus) if share + ROOM >= max(want, default=0)), key=self._free)
        if self.cpus + ROOM < host.cpus or len(free) < len(want):
            return False
        self.cpus -= host.cpus
        for i, share in zip(free, want, strict=False):
            self.gpus[i] -= share
        self.actors[stage] += 1
        return True

    def _free(self, i: int) -> float:
        return self.gpus[i]


Hosts = list[tuple[str, WorkersSpec]]  # (name of the stage, its workers and what each of them holds), in order


def place(hosts: Hosts, nodes: list[Node]) -> list[Node]:
    """Place all actors on the nodes and return the nodes. UserError when an actor fits on none."""
    cpus, gpus = sum(node.cpus for node in nodes), sum(len(node.gpus) for node in nodes)
    for name, host in hosts:
        if host.gpus > 1 and host.gpus != int(host.gpus):
            raise UserError(f"stages.{name}.gpus: {host.gpus:g}: above 1 Ray gives whole GPUs; take {int(host.gpus)}")
    for resource, have in (("gpus", gpus), ("cpus", cpus)):
        want = sum(host.workers * getattr(host, resource) for _, host in hosts)
        if want > have + ROOM:
            raise UserError(
                f"stages: the workers hold {want:g} {resource.upper()[:-1]}s together and there are {have:g}; "
                f"lower stages.*.{resource} or workers"
            )
    for name, host in sorted(hosts, key=lambda item: (-item[1].gpus, -item[1].cpus)):
        for number in range(host.workers):
            if not any(node.add(name, host) for node in nodes):
                rest = "; ".join(f"{node.name}: {_rest(node)}" for node in nodes[:4]) + "; ..." * (len(nodes) > 4)
                raise UserError(
                    f"stages.{name}: worker {number + 1} of {host.workers} wants {host.cpus:g} CPUs and {host.gpus:g} "
                    f"GPUs on one node and fits nowhere (left over: {rest}); lower stages.{name}.gpus, cpus or workers"
                )
    return nodes


def _rest(node: Node) -> str:
    gpus = "+".join(f"{share:.2g}" for share in node.gpus if share > ROOM) or "0"
    return f"{node.cpus:g} CPUs, {gpus} GPUs"

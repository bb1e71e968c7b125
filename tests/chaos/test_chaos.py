"""One repeat of the faults that come quickly; `make chaos` does all of them, many times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.arena import Arena
from tests.chaos.faults import CLUSTER, FAULTS, INLINE
from tests.chaos.nodes import Nodes


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes() as nodes:
        yield nodes


def check(name: str, nodes: Nodes | None) -> None:
    arena = Arena(f"{name} of the fast set", nodes)
    FAULTS[name](arena)
    verdict = arena.judge()
    assert (verdict.lost, verdict.doubled, verdict.identical, verdict.left) == (0, 0, True, []), arena.root


@pytest.mark.parametrize("name", [fault.__name__ for fault in INLINE] + ["ctrl_c_own_ray"])
def test_in_processes_of_their_own(name: str) -> None:
    check(name, None)


@pytest.mark.parametrize("name", [fault.__name__ for fault in CLUSTER if fault.__name__ != "driver_killed_on_cluster"])
def test_on_two_nodes(name: str, nodes: Nodes) -> None:
    check(name, nodes)

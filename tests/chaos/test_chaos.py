"""One repeat of each fault; `make chaos` does them many times.

`make test` does those that no other test shows: a signal to a real run, here, and lost nodes and actors, in
tests/engine/test_cluster.py, which has the cluster for them. The others are left to `python -m pytest -m slow`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.arena import prove
from tests.chaos.faults import CLUSTER, FAULTS, INLINE, OWN_RAY, ctrl_c_own_ray, sigterm_inline
from tests.support.nodes import Nodes

QUICK = (sigterm_inline, ctrl_c_own_ray)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes() as nodes:
        yield nodes


@pytest.mark.parametrize(
    "name",
    [pytest.param(fault.__name__, marks=() if fault in QUICK else pytest.mark.slow) for fault in [*INLINE, *OWN_RAY]],
)
def test_in_processes_of_their_own(name: str) -> None:
    prove(FAULTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [fault.__name__ for fault in CLUSTER])
def test_on_two_nodes(name: str, nodes: Nodes) -> None:
    prove(FAULTS[name], nodes)

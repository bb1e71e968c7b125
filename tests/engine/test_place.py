"""Who fits where, as Ray counts: whole machines, whole GPUs or a share of one."""

from __future__ import annotations

import pytest

from factory.engine.place import Node, place
from factory.errors import UserError
from factory.job_stages import WorkersSpec


def nodes(*gpus: int, cpus: float = 16) -> list[Node]:
    return [Node(f"n{i}", cpus, [1.0] * count) for i, count in enumerate(gpus)]


def test_the_four_pools_of_a_job_share_the_gpus():
    hosts = [
        ("generate", WorkersSpec(workers=2, gpus=0.5)),
        ("estimate", WorkersSpec(workers=1, gpus=0.25)),
        ("render", WorkersSpec(workers=1, gpus=0.25)),
        ("refine", WorkersSpec(workers=2, gpus=0.5, cpus=4)),
    ]
    first, second, third = place(hosts, nodes(1, 2, 0))
    assert (dict(first.actors), first.gpus) == ({"refine": 2}, [0.0])
    assert sorted(second.gpus) == [0.0, 0.5] and third.actors.total() == 0
    assert first.cpus == 16 - 8


def test_thirds_make_one_and_whole_gpus_are_not_shared():
    (only,) = place([("refine", WorkersSpec(workers=3, gpus=1 / 3)), ("generate", WorkersSpec(gpus=2))], nodes(3))
    assert only.gpus == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("host", "there", "words"),
    [
        (WorkersSpec(workers=3, gpus=0.6), nodes(1, 1), r"worker 3 of 3 .* fits nowhere .*0.4 GPUs"),
        (WorkersSpec(gpus=2), nodes(1, 1), "on one node"),
        (WorkersSpec(workers=3, gpus=1), nodes(1, 1), "3 GPUs together and there are 2"),
        (WorkersSpec(workers=3, cpus=16), nodes(0, 0), "48 CPUs together and there are 32"),
        (WorkersSpec(cpus=20, gpus=1), nodes(1, 1), "20 CPUs and 1 GPUs on one node"),
        (WorkersSpec(gpus=1.5), nodes(4), "whole GPUs"),
    ],
)
def test_what_fits_nowhere_is_refused(host, there, words):
    with pytest.raises(UserError, match=words):
        place([("refine", host)], there)

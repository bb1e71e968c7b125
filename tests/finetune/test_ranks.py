"""Trainings in several processes: what they learn is what one process learns."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn

from factory.finetune.ranks import Ranks, SharedBatchNorm, synchronised
from factory.models.hmr.spin import load_hmr_network
from tests.support.command import refused


@pytest.fixture
def alone(tmp_path):
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_shared_statistics_are_pytorchs_own(alone):
    """With one process they are those of the layer itself: outputs, gradients and running averages."""
    torch.manual_seed(0)
    own, shared = nn.BatchNorm2d(5), nn.BatchNorm2d(5)
    synchronised(wrapped := nn.Sequential(shared), torch.device("cpu"))
    assert isinstance(wrapped[0], SharedBatchNorm)
    images = 3 + 2 * torch.randn(6, 5, 4, 4)
    inputs = [images.clone().requires_grad_(), images.clone().requires_grad_()]
    outputs = [layer(x) for layer, x in zip((own, shared), inputs, strict=True)]
    for out in outputs:
        (out**3).sum().backward()
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-3, atol=1e-3)
    for name, value in own.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value, rtol=1e-4, atol=1e-4)
    shared.eval()
    torch.testing.assert_close(shared(images), own.eval()(images), rtol=1e-4, atol=1e-4)


def test_processes_divide_a_batch():
    rows = list(range(8))
    assert [rows[Ranks(rank, 2).part] for rank in (0, 1)] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert Ranks().lead and Ranks(0, 2).lead and not Ranks(1, 2).lead


ONE = ["--steps", "2", "--every", "1", "--batch", "8", "--threads", "1", "--full-precision"]


@pytest.mark.slow
def test_two_workers_learn_what_one_learns_and_resume(tmp_path, start, real, synthetic, held_out, command):
    """Two processes on Ray, each with half of every batch, stop after a step, resume, and end where one
    process ends."""
    data = ["--real", real, "--method", "ours", "--synthetic", synthetic, "--validation", held_out, *ONE]
    done = command("finetune", "hmr", start, "--out", tmp_path / "one", *data)
    assert done.returncode == 0, done.stderr
    two = ["finetune", "hmr", start, "--out", tmp_path / "two", *data, "--workers", "2"]
    assert command(*two, "--steps", "1").returncode == 0
    assert "resumed after step 1 of 2" in (again := command(*two)).stdout, again.stderr
    networks = [load_hmr_network(str(tmp_path / name / "model")).state_dict() for name in ("one", "two")]
    for name, value in networks[0].items():
        torch.testing.assert_close(networks[1][name], value, rtol=1e-2, atol=1e-3, msg=name)
    refused(command(*two, "--rate", "1"), "checkpoint of another training", "rate was 0.0001, not 1.0")
    assert not (tmp_path / "two" / ".ray").exists()


def test_more_workers_than_the_cluster_has_room_for_are_refused(tmp_path, start, real, factory):
    address = ["--workers", "2", "--ray-address", "127.0.0.1:9"]
    out = ["--out", tmp_path / "out", "--real", real, *ONE]
    refused(factory("finetune", "hmr", start, *out, *address), "no cluster answers at 127.0.0.1:9")

"""The processes that share a training: which of them this is, and what they average.

Each process computes its part of every batch. Gradients are averaged by DistributedDataParallel, and the statistics of
batch normalisation by `synchronised`, so that R processes learn what one process learns from the whole batch, up to the
rounding of sums.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Ranks(NamedTuple):
    """rank: the number of this process; total: how many there are."""

    rank: int = 0
    total: int = 1

    @property
    def lead(self) -> bool:
        """Whether this process writes files and measures."""
        return self.rank == 0

    @property
    def part(self) -> slice:
        """The rows of a whole batch that this process computes. All processes have as many."""
        return slice(self.rank, None, self.total)

    def gather(self, values: Tensor) -> Tensor:
        """values (B, ...) of this process -> (R B, ...): those of all, in the order of the whole batch."""
        if self.total == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.total)]
        dist.all_gather(parts, values.contiguous())
        return torch.stack(parts, 1).flatten(0, 1)

    def mean(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values, each a mean over this process's part of the batch, averaged over the processes."""
        if self.total == 1:
            return values
        total = torch.stack([torch.as_tensor(value) for value in values.values()])
        dist.all_reduce(total)
        return dict(zip(values, (total / self.total).unbind(), strict=True))

    def agree(self, value: bool) -> bool:
        """What the first process says."""
        if self.total == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, 0)
        return said[0]

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as its processes train it together: its parameters are those of `network`."""
        if self.total == 1:
            return network
        synchronised(network, device)
        devices = [torch.cuda.current_device()] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def synchronised(network: nn.Module, device: torch.device) -> None:
    """Let each layer of batch normalisation use the statistics of all processes' images."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # in place, but for a network that is such a layer itself
        return
    for layer in network.modules():  # PyTorch's own works on GPUs alone
        if isinstance(layer, nn.BatchNorm2d):
            layer.__class__ = SharedBatchNorm


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the images of all processes, on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> the same shape."""
        if not self.training:
            return super().forward(x)
        own = torch.cat([x.float().mean((0, 2, 3)), x.float().square().mean((0, 2, 3))])
        mean, square = (_Sum.apply(own) / dist.get_world_size()).chunk(2)
        variance = square - mean.square()
        with torch.no_grad():
            count = x.numel() // x.shape[1] * dist.get_world_size()
            assert self.num_batches_tracked is not None and self.momentum is not None
            assert self.running_mean is not None and self.running_var is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (x * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0].contiguous())

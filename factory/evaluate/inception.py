"""The Inception network of FID: TensorFlow's of 2015-12-05 in PyTorch, under the names of its converted weights.

Written out because the libraries that hold it, torch-fidelity and pytorch-fid, import torchvision, of which there is no
build beside a CPU build of PyTorch, and open the file as a pickle that may run code. It differs from torchvision's
Inception v3 as TensorFlow's graph does: averages leave out the padding, and the last block takes a maximum there.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from factory.errors import UserError, first_line
from factory.weights import torch_file

SIDE, FEATURES = 299, 2048
CLASSES = 1008  # the file also holds a classifier, which FID does not ask
Size = int | tuple[int, int]  # of a kernel or a padding: of both sides, or of rows and columns
Branch = list[tuple[str, int, Size, int]]  # name, channels, kernel and stride of each convolution


class BasicConv2d(nn.Module):
    def __init__(self, inner: int, outer: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outer, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


class Block(nn.Module):
    """Branches side by side, each a chain of convolutions, their outputs one after the other along the channels.

    branches: chains of convolutions. A convolution whose name ends in `a` and the next one, whose name ends in `b`, are
    a fork: both see the same input, and both outputs are taken. pool: what the last branch does: "average" or
    "maximum", then a convolution `branch_pool` of `pooled` channels; or "reduce", a maximum of stride 2 alone.
    """

    def __init__(self, inner: int, branches: list[Branch], pool: str, pooled: int = 0) -> None:
        super().__init__()
        self.pool, self.chains = pool, [[name for name, *_ in branch] for branch in branches]
        self.outer = pooled or inner
        for branch in branches:
            channels = inner
            for i, (name, outer, kernel, stride) in enumerate(branch):
                padding = _same(kernel) if stride == 1 else 0
                self.add_module(name, BasicConv2d(channels, outer, kernel, stride, padding))
                forks = name.endswith("a")  # its sibling sees the same input
                channels = channels if forks else outer
                self.outer += outer if forks or i == len(branch) - 1 else 0
        if pooled:
            self.branch_pool = BasicConv2d(inner, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for chain in self.chains:
            y = x
            for name in chain:
                step = self.get_submodule(name)
                if name.endswith("a"):
                    outputs.append(step(y))
                else:
                    y = step(y)
            outputs.append(y)
        if self.pool == "reduce":
            return torch.cat([*outputs, F.max_pool2d(x, 3, 2)], 1)
        average = self.pool == "average"
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if average else F.max_pool2d(x, 3, 1, 1)
        return torch.cat([*outputs, self.branch_pool(pooled)], 1)


def _same(kernel: Size) -> Size:
    """The padding that keeps the size."""
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)


def _block_a(inner: int, pooled: int) -> Block:
    branches: list[Branch] = [
        [("branch1x1", 64, 1, 1)],
        [("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 1)],
        [("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 1)],
    ]
    return Block(inner, branches, "average", pooled)


def _block_b(inner: int) -> Block:
    double: Branch = [("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 2)]
    return Block(inner, [[("branch3x3", 384, 3, 2)], double], "reduce")


def _block_c(inner: int, narrow: int) -> Block:
    row, column = (1, 7), (7, 1)
    kernels: list[tuple[int, Size]] = [(2, column), (3, row), (4, column)]
    double: Branch = [("branch7x7dbl_1", narrow, 1, 1)]
    double += [(f"branch7x7dbl_{i}", narrow, kernel, 1) for i, kernel in kernels]
    branches: list[Branch] = [
        [("branch1x1", 192, 1, 1)],
        [("branch7x7_1", narrow, 1, 1), ("branch7x7_2", narrow, row, 1), ("branch7x7_3", 192, column, 1)],
        [*double, ("branch7x7dbl_5", 192, row, 1)],
    ]
    return Block(inner, branches, "average", 192)


def _block_d(inner: int) -> Block:
    branches: list[Branch] = [
        [("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 2)],
        [
            ("branch7x7x3_1", 192, 1, 1), ("branch7x7x3_2", 192, (1, 7), 1), ("branch7x7x3_3", 192, (7, 1), 1),
            ("branch7x7x3_4", 192, 3, 2),
        ],
    ]  # fmt: skip
    return Block(inner, branches, "reduce")


def _block_e(inner: int, pool: str) -> Block:
    branches: list[Branch] = [
        [("branch1x1", 320, 1, 1)],
        [("branch3x3_1", 384, 1, 1), ("branch3x3_2a", 384, (1, 3), 1), ("branch3x3_2b", 384, (3, 1), 1)],
        [
            ("branch3x3dbl_1", 448, 1, 1), ("branch3x3dbl_2", 384, 3, 1),
            ("branch3x3dbl_3a", 384, (1, 3), 1), ("branch3x3dbl_3b", 384, (3, 1), 1),
        ],
    ]  # fmt: skip
    return Block(inner, branches, pool, 192)


class Inception(nn.Module):
    """x (N, 3, 299, 299), 0 ... 255 -> (N, 2048): what the last average pooling gives."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.Mixed_5b = _block_a(192, 32)
        self.Mixed_5c = _block_a(256, 64)
        self.Mixed_5d = _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b = _block_c(768, 128)
        self.Mixed_6c = _block_c(768, 160)
        self.Mixed_6d = _block_c(768, 160)
        self.Mixed_6e = _block_c(768, 192)
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b = _block_e(1280, "average")
        self.Mixed_7c = _block_e(2048, "maximum")
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3((x - 128) / 128)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean((2, 3))


def load_inception(path: Path, label: str) -> Inception:
    """The network with the weights of a file of torch-fidelity or pytorch-fid, which is read without running anything
    in it. UserError, which begins with `label`, for any other file."""
    try:
        weights = torch_file.load(path)
    except Exception as error:  # a damaged file leads to whatever its reader raises
        raise UserError(f"{label} is no file of weights ({first_line(error)}); fetch it again") from error
    with torch.device("meta"):  # draws no random weights
        network = Inception()
    # How many batches a training has seen: newer files count them, and nothing reads them.
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith("num_batches_tracked")}
    try:
        missing = network.load_state_dict({**counters, **weights}, strict=False, assign=True).missing_keys
    except Exception as error:  # no mapping, no tensors, other shapes
        raise UserError(f"{label} does not fit FID's Inception ({first_line(error)}); fetch it again") from error
    if missing:
        raise UserError(f"{label} lacks {len(missing)} layers of FID's Inception, first {missing[0]}; fetch it again")
    return network.float().eval()

"""The residual network that estimators are built on (He et al. 2016, bottleneck blocks).

Its parameters have the names that torchvision and SPIN use. It is written out because the starter's network is
narrower than torchvision's can be.
"""

from __future__ import annotations

from torch import Tensor, nn


class Bottleneck(nn.Module):
    """inner: channels of the input; planes: of the 3 x 3 convolution; stride: of the same. The output has expansion
    times `planes` channels."""

    expansion = 4

    def __init__(self, inner: int, planes: int, stride: int) -> None:
        super().__init__()
        outer = planes * self.expansion
        self.conv1 = nn.Conv2d(inner, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outer, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer)
        same = stride == 1 and inner == outer
        self.downsample = (
            None if same else nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    """layers: blocks of each stage; width: channels inside the blocks of the first stage. `channels`: those of the
    output of each stage."""

    def __init__(self, layers: list[int], width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels = [Bottleneck.expansion * (width << i) for i in range(len(layers))]
        inner = width
        for i, blocks in enumerate(layers):
            stage = []
            for j in range(blocks):
                stage.append(Bottleneck(inner, width << i, 2 if i and not j else 1))
                inner = self.channels[i]
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))

    def stages(self, x: Tensor) -> list[Tensor]:
        """x (N, 3, S, S) -> the output of each stage: (N, channels, S / 4, S / 4), then S / 8 and so on."""
        x, out = self.maxpool(self.bn1(self.conv1(x)).relu()), []
        for i in range(len(self.channels)):
            x = self.get_submodule(f"layer{i + 1}")(x)
            out.append(x)
        return out
